import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InputContract } from '@drover/shared/input-contract';
import {
  decodeGoldenVectors,
  encodeGoldenVectors,
  encodeLabelledSamples,
  type GoldenVector,
} from '@drover/shared/manifest';
import { decodeOnnx, encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runDrover } from '../../src/cli/program.js';
import { unattendedTerminal } from '../cli-terminal.js';
import { buildRelease, type BuildOptions } from '../../src/cli/release-builder/build.js';
import { examineModel } from '../../src/cli/release-builder/examine.js';
import { loadModel } from '../../src/cli/release-builder/model-run.js';

const CLASSES = ['ant', 'bee', 'cow'];

/** What scikit-learn's exporter writes: scores, and a ZipMap behind them; `weightsAreInputs` as before IR version 4. */
function exported({ withZipMap = true, weightsAreInputs = false } = {}): Uint8Array {
  const zipMap = {
    ...node('ZipMap', ['scores'], ['output_probability'], {}),
    domain: 'ai.onnx.ml',
    attribute: [{ ...node('x', [], [], { a: { string: '' } }).attribute[0], name: 'classlabels_strings', type: 8, strings: CLASSES.map((text) => Buffer.from(text)) }], // prettier-ignore
  } as ReturnType<typeof node>;
  const weights = floatTensor('w', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
  const made = model({
    opset: 13,
    graph: graph({
      name: 'sklearn',
      inputs: [valueInfo('X', 'FP32', ['n', 2]), ...(weightsAreInputs ? [valueInfo('w', 'FP32', [2, 3])] : [])],
      outputs: [valueInfo(withZipMap ? 'output_probability' : 'scores', 'FP32', ['n', 3])],
      initializers: [weights],
      nodes: [node('MatMul', ['X', 'w'], ['logits']), node('Softmax', ['logits'], ['scores']), ...(withZipMap ? [zipMap] : [])], // prettier-ignore
    }),
  });
  made.opsetImport.push({ $typeName: 'onnx.OperatorSetIdProto', domain: 'ai.onnx.ml', version: 1n });
  const [output] = made.graph?.output ?? [];
  if (withZipMap && output?.type)
    output.type.value = {
      case: 'sequenceType',
      value: { $typeName: 'onnx.TypeProto.Sequence' },
    };
  return encodeOnnx(made);
}

const run = async (bytes: Uint8Array): Promise<number[]> => {
  const loaded = await loadModel(bytes);
  const input = new Uint8Array(Float32Array.of(1, -1).buffer);
  const [output] = await loaded.run([{ name: 'X', datatype: 'FP32', shape: [1, 2], bytes: input }]);
  await loaded.close();
  return Array.from(new Float32Array(new Uint8Array(output?.bytes ?? []).buffer));
};

describe('a model that ends in a ZipMap', () => {
  it('when it is loaded for publishing, gives its scores as a tensor, with the names of the classes', async () => {
    const loaded = await loadModel(exported());
    expect(loaded.repairs.zipMaps).toEqual([{ output: 'output_probability', labels: CLASSES }]);
    expect(loaded.signature.outputs).toEqual([{ name: 'output_probability', datatype: 'FP32', shape: [-1, 3] }]);
    await loaded.close();
    expect(await run(loaded.bytes)).toEqual(await run(exported({ withZipMap: false })));
    const again = await loadModel(loaded.bytes);
    expect(again.bytes).toBe(loaded.bytes);
    await again.close();
  });

  it('when it is published without a task, is a classifier of these classes; with another task, it is not', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'drover-zipmap-'));
    const modelFile = join(folder, 'a.onnx');
    writeFileSync(modelFile, exported());
    const notes: string[] = [];
    const build = async (task?: 'tensors') => {
      const { manifest } = await buildRelease({
        modelFile,
        model: 'm',
        version: '1.0.0',
        createdAt: new Date(0),
        hardwareClasses: ['*'],
        parity: { absolute: 1e-3, relative: 1e-3 },
        drift: { windowSize: 200, falseAlarmsPerWindow: 0.001, confirmWindows: 2, seed: 1 },
        onNote: (line) => void notes.push(line),
        ...(task && { task }),
      });
      return manifest.task;
    };
    expect(await build()).toEqual({ type: 'classification', scores: 'output_probability', labels: CLASSES });
    expect(notes).toEqual([expect.stringContaining('Removed the ZipMap')]);
    expect(await build('tensors')).toEqual({ type: 'tensors' });
    rmSync(folder, { recursive: true });
  });

  it('when somebody signed it, is refused as it is', async () => {
    await expect(loadModel(exported(), { mayChange: false })).rejects.toMatchObject({ code: 'ONNX_UNSUPPORTED_TYPE' });
  });
});

describe('a model whose weights are inputs too', () => {
  it('when it is loaded for publishing, has them as constants only, and answers the same', async () => {
    const bytes = exported({ withZipMap: false, weightsAreInputs: true });
    const loaded = await loadModel(bytes);
    expect(loaded.repairs.initializerInputs).toEqual(['w']);
    await loaded.close();
    expect(decodeOnnx(loaded.bytes).graph?.input.map(({ name }) => name)).toEqual(['X']);
    expect(await run(loaded.bytes)).toEqual(await run(exported({ withZipMap: false })));
  });
});

describe('drover model check', () => {
  let folder: string;
  const said: string[] = [];
  const check = async (...words: string[]): Promise<number> => {
    said.length = 0;
    const terminal = unattendedTerminal((text) => void said.push(text));
    return runDrover(['model', 'check', ...words], terminal, '0.0.0');
  };
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'drover-check-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('when the model can be mended, says what is wrong, and writes the mended file', async () => {
    const [file, fixed] = [join(folder, 'a.onnx'), join(folder, 'b.onnx')];
    writeFileSync(file, exported({ weightsAreInputs: true }));
    expect(await check(file)).toBe(0);
    expect(said.join('\n')).toContain('ant, bee, cow');
    expect(said.join('\n')).toMatch(/It runs on the CPU: [\d.]+ ms/);
    expect(said.join('\n')).toContain('It is published for classification: by the task outputs are read and compared.');
    expect(await check(file, '--fix', fixed)).toBe(0);
    const found = await examineModel(readFileSync(fixed));
    expect(found).toMatchObject({ zipMaps: [], initializerInputs: [], hasBatchAxis: true });
    expect(found.fixed).toBeUndefined();
  });

  it('when samples are given, makes a contract that publishing takes, and golden vectors that the model answers', async () => {
    const at = (name: string) => join(folder, name);
    writeFileSync(at('a.onnx'), exported({ withZipMap: false }));
    writeFileSync(
      at('normal.csv'),
      `heat,flow\n${Array.from({ length: 50 }, (_, row) => `${row / 7},${-row}`).join('\n')}`,
    );
    const made = ['--contract-out', at('contract.json'), '--golden-out', at('golden.json')];
    expect(await check(at('a.onnx'), '--samples', at('normal.csv'), ...made)).toBe(0);
    expect(said.join('\n')).toContain(`Wrote ${at('contract.json')}.`);
    const contract = JSON.parse(readFileSync(at('contract.json'), 'utf8')) as unknown;
    expect(contract).toMatchObject({ action: 'record', inputs: [{ name: 'X', features: ['heat', 'flow'] }] });
    const options = {
      modelFile: at('a.onnx'),
      model: 'm',
      version: '1.0.0',
      createdAt: new Date(0),
      hardwareClasses: ['*'],
      parity: { absolute: 1e-3, relative: 1e-3 },
      drift: { windowSize: 200, falseAlarmsPerWindow: 0.001, confirmWindows: 2, seed: 1 },
      inputs: contract as InputContract,
    };
    expect((await buildRelease(options)).manifest.contract.inputs).toEqual(contract);
    const vectors = decodeGoldenVectors(readFileSync(at('golden.json')));
    expect(vectors).toHaveLength(16);
    const loaded = await loadModel(readFileSync(at('a.onnx')));
    for (const { inputs, outputs } of vectors) expect(await loaded.run(inputs)).toEqual(outputs);
    await loaded.close();
    expect(await check(at('a.onnx'), '--samples', at('normal.csv'))).toBe(2);
    const golden = async (change: (vector: GoldenVector) => GoldenVector, by: Partial<BuildOptions> = {}) => {
      writeFileSync(at('changed.json'), encodeGoldenVectors(vectors.map(change)));
      const { manifest, files } = await buildRelease({ ...options, ...by, goldenFile: at('changed.json') });
      return decodeGoldenVectors(files.get(manifest.goldenVectors.digest) ?? new Uint8Array());
    };
    expect(await golden((vector) => vector)).toEqual(vectors);
    const off = (by: number) => (vector: GoldenVector) => ({
      ...vector,
      outputs: vector.outputs.map((output) => ({
        ...output,
        bytes: new Uint8Array(new Float32Array(output.bytes.slice().buffer).map((value) => value + by).buffer),
      })),
    });
    // What the file says is what devices test themselves by.
    expect(await golden(off(1e-4))).toEqual(vectors.map(off(1e-4)));
    await expect(golden(off(0.1))).rejects.toMatchObject({ code: 'CLI_GOLDEN_DIFFERS' });
    const classifier = { task: 'classification', labels: CLASSES, scores: 'scores' } as const;
    expect(await golden(off(0.1), { ...classifier, agreement: 0.9 })).toHaveLength(16);
    await expect(golden(off(0.1), { agreement: 0 })).rejects.toMatchObject({ code: 'CLI_GOLDEN_DIFFERS' });
    const unfit = { code: 'CLI_GOLDEN_UNFIT' };
    await expect(golden((vector) => ({ ...vector, outputs: [] }))).rejects.toMatchObject(unfit);
    const [renamed, reshaped] = [{ name: 'Y' }, { shape: [3, 1] }];
    for (const change of [renamed, reshaped]) {
      const changed = golden((vector) => ({
        ...vector,
        inputs: vector.inputs.map((each) => ({ ...each, ...change })),
      }));
      await expect(changed).rejects.toMatchObject(unfit);
    }
  });

  it('when samples are in the format of the project, reads them too', async () => {
    const at = (name: string) => join(folder, name);
    writeFileSync(at('a.onnx'), exported({ withZipMap: false }));
    const features = Float32Array.from({ length: 100 }, (_, index) => Math.sin(index));
    writeFileSync(at('s.json'), encodeLabelledSamples({ features, labels: new Int32Array(50), count: 50, width: 2 }));
    expect(await check(at('a.onnx'), '--samples', at('s.json'), '--contract-out', at('contract.json'))).toBe(0);
    const contract = JSON.parse(readFileSync(at('contract.json'), 'utf8')) as InputContract;
    expect(contract.inputs[0]?.rules.map(({ rule, column }) => [rule, column])).toEqual([
      ['present', undefined],
      ['range', '0'],
      ['range', '1'],
    ]);
  });

  it('when the model cannot be served, says why and what to do, and ends with 1', async () => {
    const file = join(folder, 'a.onnx');
    const custom = decodeOnnx(exported({ withZipMap: false }));
    for (const each of custom.graph?.node ?? []) each.domain = 'com.example';
    writeFileSync(file, encodeOnnx(custom));
    expect(await check(file)).toBe(1);
    expect(said.join('\n')).toContain('ONNX_UNSUPPORTED_OPERATOR');
    writeFileSync(file, 'no model');
    expect(await check(file)).toBe(1);
    expect(said.join('\n')).toContain('ONNX_NOT_A_MODEL');
  });
});
