import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Task } from '@drover/shared/task';
import { numbersOf } from '@drover/shared/tensors';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listenInference, type InferenceServer } from '../../src/serve/inline/index.js';
import { classified, type Classifying } from '../../src/serve/protocol/classification.js';
import { toFloat16, type NumericTensor } from '../../src/serve/tensors/tensor.js';
import { install, installClassifier } from './installed-classifier.js';
import { installIdentity } from './installed-identity.js';
import { testServing } from './test-serving.js';

const directory = mkdtempSync(join(tmpdir(), 'drover-classes-'));

const modelOf = (axis: number, task: Task = { type: 'tensors' }): Classifying =>
  install(
    new Uint8Array(),
    [{ inputs: [], outputs: [] }],
    { directory, manifest: { task } },
    {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [axis] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [axis, 3] }],
    },
  );
const floats = (shape: readonly number[], data: readonly number[]): NumericTensor => ({
  datatype: 'FP64',
  shape,
  data: Float64Array.from(data),
});

describe('when the highest elements of an output are asked for', () => {
  it("gives value and index of each row of a batch, as in the example of Triton's extension", () => {
    const example = Float32Array.of(1.1, 3.3, 0.5, 2.4);
    expect(classified(modelOf(-1), 'y', { datatype: 'FP32', shape: [1, 4], data: example }, 2)).toEqual({
      datatype: 'BYTES',
      shape: [1, 2],
      data: ['3.300000:1', '2.400000:3'],
    });
  });

  it('adds the labels of the output that holds the scores, and counts over all of an output without a batch axis', () => {
    const labelled = modelOf(2, { type: 'classification', scores: 'y', labels: ['ant', 'bee', 'cow'] });
    expect(classified(labelled, 'y', floats([1, 3], [0, 1, 2]), 2)).toEqual({
      datatype: 'BYTES',
      shape: [2],
      data: ['2.000000:2:cow', '1.000000:1:bee'],
    });
    expect(classified(labelled, 'z', floats([2, 2], [0, 1, 3, 2]), 1)).toMatchObject({
      shape: [1],
      data: ['3.000000:2'],
    });
  });

  it('gives all elements where there are fewer, the first of equal ones first, and what is no number last', () => {
    const { shape, data } = classified(modelOf(2), 'y', floats([4], [1, NaN, 1, 2]), 9);
    expect([shape, data]).toEqual([[4], ['2.000000:3', '1.000000:0', '1.000000:2', 'nan:1']]);
  });

  // Python: '%f' % x
  it.each([
    [1 / 128, '0.007812'],
    [3 / 128, '0.023438'],
    [-5 / 128, '-0.039062'],
    [123456789.0078125, '123456789.007812'],
    [-0, '-0.000000'],
    [-1e-9, '-0.000000'],
    [4e-7, '0.000000'],
    [1e22, '10000000000000000000000.000000'],
    [-Infinity, '-inf'],
  ])('writes %d as C does: %s', (value, text) => {
    expect(classified(modelOf(2), 'y', floats([1], [value]), 1).data).toEqual([`${text}:0`]);
  });

  it('keeps all digits of whole numbers, and reads FP16', () => {
    const whole: NumericTensor = { datatype: 'INT64', shape: [2], data: BigInt64Array.of(2n ** 62n + 1n, -3n) };
    expect(classified(modelOf(2), 'y', whole, 2).data).toEqual(['4611686018427387905:0', '-3:1']);
    const half: NumericTensor = { datatype: 'FP16', shape: [2], data: Uint16Array.from([0.5, 1.5], toFloat16) };
    expect(classified(modelOf(2), 'y', half, 1).data).toEqual(['1.500000:1']);
  });

  it('gives them by falling value, each once', () => {
    const values = fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 15 }), (given, count) => {
        const tensor = floats([given.length], given);
        const indices = (classified(modelOf(2), 'y', tensor, count).data as string[]).map((text) =>
          Number(text.split(':')[1]),
        );
        expect(new Set(indices).size).toBe(Math.min(count, given.length));
        const ordered = indices.map((index) => numbersOf(tensor)[index] ?? NaN);
        expect(ordered).toEqual([...given].sort((left, right) => right - left).slice(0, count));
      }),
    );
  });
});

describe('over REST', () => {
  const serving = testServing();
  let server: InferenceServer;
  beforeAll(async () => {
    const { signal } = new AbortController();
    await serving.activate(await installClassifier({ directory: join(directory, 'classifier') }), signal);
    server = await listenInference({
      host: '127.0.0.1',
      port: 0,
      serverVersion: '0.1.0',
      models: serving,
      sharedMemory: true,
    });
  });
  afterAll(async () => {
    await server.close();
    await serving.close();
    rmSync(directory, { recursive: true });
  });
  const infer = async (parameters: object) => {
    const answer = await fetch(`http://127.0.0.1:${server.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({
        inputs: [{ name: 'features', datatype: 'FP32', shape: [2, 4], data: [1, 2, 3, 4, 4, 3, 2, 1] }],
        outputs: [{ name: 'probabilities', parameters }],
      }),
    });
    return (await answer.json()) as {
      outputs: { datatype: string; shape: number[]; data: unknown[] }[];
      code?: string;
    };
  };

  it('when an output is asked for as classes, answers with strings, and says in its metadata that it can', async () => {
    const { extensions } = (await (await fetch(`http://127.0.0.1:${server.port}/v2`)).json()) as {
      extensions: string[];
    };
    expect(extensions).toContain('classification');
    const { outputs } = await infer({ classification: 1 });
    expect(outputs).toEqual([
      {
        name: 'probabilities',
        datatype: 'BYTES',
        shape: [2, 1],
        data: [expect.stringMatching(/^0\.\d{6}:[012]:[abc]$/), expect.anything()],
      },
    ]);
  });

  it('when none are asked for, answers with the output; in shared memory there are none', async () => {
    expect((await infer({ classification: 0 })).outputs).toMatchObject([{ datatype: 'FP32', shape: [2, 3] }]);
    expect(await infer({ classification: -1 })).toMatchObject({ code: 'REQUEST_INVALID' });
    const place = { shared_memory_region: 'r', shared_memory_byte_size: 8 };
    expect(await infer({ classification: 1, ...place })).toMatchObject({
      code: 'REQUEST_INVALID',
      error: expect.stringContaining('cannot be given as classes in shared memory') as unknown,
    });
  });

  it('when an output holds strings, refuses before anything is run', async () => {
    await serving.activate(installIdentity(join(directory, 'identity'), ['BYTES']), new AbortController().signal);
    const answer = await fetch(`http://127.0.0.1:${server.port}/v2/models/classifier/infer`, {
      method: 'POST',
      body: JSON.stringify({
        inputs: [{ name: 'in-BYTES', datatype: 'BYTES', shape: [1, 1], data: ['a'] }],
        outputs: [{ name: 'out-BYTES', parameters: { classification: 1 } }],
      }),
    });
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([
      400,
      expect.stringContaining('is BYTES, which cannot be classified'),
    ]);
  });
});
