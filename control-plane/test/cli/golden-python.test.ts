import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { expect, it } from 'vitest';
import { buildRelease } from '../../src/cli/release-builder/build.js';

const { DROVER_PYTHON: python } = process.env;
const documented = /```python\n(.*?def tensor.*?)```/s;

it.skipIf(python === undefined)(
  'when Python writes golden vectors as the documentation says, publishing takes them (set DROVER_PYTHON to a Python that has NumPy; skipped without)',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'drover-golden-python-'));
    try {
      const operations = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
      const [, snippet = ''] = documented.exec(operations) ?? [];
      const script = [
        'import numpy as np',
        'inputs = [np.array([[row, 1.0]], np.float32) for row in range(3)]',
        'trained = lambda x: x @ np.array([[1.0], [2.0]], np.float32)',
        ...snippet.split('\n').map((line) => line.replace(/^ {2}/, '')),
      ];
      execFileSync(python ?? '', ['-c', script.join('\n')], { cwd: folder });
      const modelFile = join(folder, 'sum.onnx');
      const weights = floatTensor('w', [2, 1], Float32Array.of(1, 2));
      const nodes = [node('MatMul', ['x', 'w'], ['y'])];
      const [inputs, outputs] = [[valueInfo('x', 'FP32', ['n', 2])], [valueInfo('y', 'FP32', ['n', 1])]];
      const network = graph({ name: 'sum', inputs, outputs, initializers: [weights], nodes });
      writeFileSync(modelFile, encodeOnnx(model({ opset: 17, graph: network })));
      const { manifest, files } = await buildRelease({
        modelFile,
        goldenFile: join(folder, 'golden.json'),
        model: 'sum',
        version: '1.0.0',
        createdAt: new Date(0),
        hardwareClasses: ['*'],
        parity: { absolute: 1e-6, relative: 1e-6 },
        drift: { windowSize: 200, falseAlarmsPerWindow: 0.001, confirmWindows: 2, seed: 1 },
      });
      const golden = JSON.parse(Buffer.from(files.get(manifest.goldenVectors.digest) ?? []).toString()) as object;
      expect(golden).toMatchObject({ vectors: [{}, {}, { inputs: [{ name: 'x' }], outputs: [{ name: 'y' }] }] });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
