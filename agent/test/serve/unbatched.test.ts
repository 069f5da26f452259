import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelName } from '@drover/shared/ids';
import { encodeOnnx, graph, model, node, valueInfo, type NodeProto } from '@drover/shared/onnx';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer } from '../../src/serve/inline/index.js';
import { hasBatchAxis } from '../../src/serve/scheduling/batch.js';
import { install } from './installed-classifier.js';
import { testServing } from './test-serving.js';

const directory = mkdtempSync(join(tmpdir(), 'drover-unbatched-'));
const serving = testServing();
let server: InferenceServer;

/** One operator between x and y. */
function installed(name: string, operator: NodeProto, input: number[], output: number[]) {
  const bytes = encodeOnnx(
    model({
      opset: 13,
      graph: graph({
        name,
        inputs: [valueInfo('x', 'FP32', input)],
        outputs: [valueInfo('y', 'FP32', output)],
        nodes: [operator],
      }),
    }),
  );
  const zeros = new Uint8Array(4 * input.reduce((product, axis) => product * axis, 1));
  const vector = {
    inputs: [{ name: 'x', datatype: 'FP32', shape: input, bytes: zeros }],
    outputs: [
      { name: 'y', datatype: 'FP32', shape: output, bytes: new Uint8Array(output.length === 0 ? 4 : zeros.length) },
    ],
  } as const;
  const signature = {
    inputs: [{ name: 'x', datatype: 'FP32' as const, shape: input }],
    outputs: [{ name: 'y', datatype: 'FP32' as const, shape: output }],
  };
  return { ...install(bytes, [vector], { directory: join(directory, name) }, signature), model: ModelName(name) };
}

const STATIC = installed('static-batch', node('Neg', ['x'], ['y']), [2, 3], [2, 3]);
const SCALAR = installed('no-batch', node('ReduceMax', ['x'], ['y'], { keepdims: { int: 0 } }), [3], []);

beforeAll(async () => {
  for (const each of [STATIC, SCALAR]) await serving.activate(each, new AbortController().signal);
  server = await listenInference({ host: '127.0.0.1', port: 0, serverVersion: '0.1.0', models: serving });
});
afterAll(async () => {
  await server.close();
  await serving.close();
  rmSync(directory, { recursive: true });
});

const infer = async (name: string, shape: number[], data: number[]) => {
  const body = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape, data }] });
  const answer = await fetch(`http://127.0.0.1:${server.port}/v2/models/${name}/infer`, { method: 'POST', body });
  const { outputs, code } = (await answer.json()) as { outputs?: { shape: number[]; data: number[] }[]; code?: string };
  return code ?? [outputs?.[0]?.shape, outputs?.[0]?.data];
};

describe('a model without a variable batch axis', () => {
  it('when its batch is static, is served in batches of that size, each request a run of its own', async () => {
    expect(hasBatchAxis(STATIC.variant.signature)).toBe(false);
    const answers = await Promise.all([1, 2, 3, 4].map((n) => infer('static-batch', [2, 3], [n, 0, 0, 0, 0, n])));
    // JSON has no negative zero.
    expect(answers).toEqual(
      [1, 2, 3, 4].map((n) => [
        [2, 3],
        [-n, 0, 0, 0, 0, -n],
      ]),
    );
    expect(await infer('static-batch', [1, 3], [1, 2, 3])).toBe('REQUEST_INVALID');
  });

  it('when it has none at all, is served too, and answers with a scalar', async () => {
    expect(hasBatchAxis(SCALAR.variant.signature)).toBe(false);
    const answers = await Promise.all([1, 2, 3].map((n) => infer('no-batch', [3], [0, n, -n])));
    expect(answers).toEqual([1, 2, 3].map((n) => [[], [n]]));
  });
});
