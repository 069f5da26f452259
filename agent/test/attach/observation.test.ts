import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Task } from '@drover/shared/task';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readMessage, type ObservedInference } from '../../src/attach/observe/messages.js';
import { readObservation } from '../../src/attach/observe/observation.js';
import { toBytes, type ModelTensor, type TensorMap } from '../../src/serve/tensors/tensor.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { FEATURES, installClassifier } from '../serve/installed-classifier.js';
import { memoryRecorder } from '../serve/memory-recorder.js';
import { testServing } from '../serve/test-serving.js';

const { signal } = new AbortController();
const TASKS: readonly Task[] = [
  { type: 'classification', scores: 'probabilities', labels: ['a', 'b', 'c'] },
  { type: 'regression', regression: { outputs: ['logits'] } },
  { type: 'anomaly', anomaly: { score: 'logits', threshold: 0, anomalous: 'above' } },
  { type: 'tensors' },
];

const toMessage = (message: object): ObservedInference => {
  const read = readMessage(JSON.stringify({ type: 'inference', latencyUs: 5, ...message }));
  if (read.type !== 'inference') throw new Error(read.type);
  return read;
};
const named = (tensors: TensorMap, withData: boolean) =>
  Object.entries(tensors).map(([name, { datatype, shape, data }]) => ({
    ...{ name, datatype, shape },
    ...(withData && { data: Array.from(data as Float32Array) }),
  }));

describe.each(TASKS)('when a model for $type is observed', (task) => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-observation-'));
  const recorder = memoryRecorder();
  const serving = testServing(recorder);
  let installed: InstalledModel;
  beforeAll(async () => {
    installed = await installClassifier({ directory, manifest: { task } });
    await serving.activate(installed, signal);
  });
  afterAll(async () => {
    await serving.close();
    rmSync(directory, { recursive: true });
  });

  it('is recorded as what the agent records where it runs the model itself', async () => {
    const rows = fc.array(fc.float({ noNaN: true, min: -9, max: 9 }), { minLength: 1, maxLength: 5 * FEATURES });
    await fc.assert(
      fc.asyncProperty(rows, fc.boolean(), async (values, isBinary) => {
        const count = Math.ceil(values.length / FEATURES);
        const data = Float32Array.from(
          { length: count * FEATURES },
          (_, index) =>
            // JSON has no -0.
            (values[index] ?? 0) + 0,
        );
        const features: ModelTensor = { datatype: 'FP32', shape: [count, FEATURES], data };
        const request = {
          model: installed.model,
          requestId: 'r',
          inputs: { features: { ...features, data: data.slice() } },
        };
        const { outputs } = await serving.infer(request);
        const served = recorder.records.at(-1);

        const tensors = { inputs: named({ features }, !isBinary), outputs: named(outputs, !isBinary) };
        const payload = Buffer.concat([features, ...Object.values(outputs)].map(toBytes));
        const { record } = readObservation(
          toMessage({ id: 'r', ...tensors }),
          isBinary ? payload : undefined,
          installed,
          served?.atMs ?? 0,
        );
        expect({ ...record, latencyUs: served?.latencyUs }).toEqual(served);
      }),
      { numRuns: 30 },
    );
  });

  it('has no rows in the profile where it could not answer', () => {
    const message = toMessage({ failed: true, features: [[1, 2, 3, 4]] });
    const { record } = readObservation(message, undefined, installed, 1);
    expect(record).toMatchObject({ failed: true, inferences: 1, atMs: 1 });
    expect(record.features).toBeUndefined();
  });
});

describe('when what is observed cannot be of the model', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-observation-'));
  let classifier: InstalledModel;
  beforeAll(async () => void (classifier = await installClassifier({ directory })));
  afterAll(() => rmSync(directory, { recursive: true }));
  const regressor = (): InstalledModel => ({
    ...classifier,
    manifest: { ...classifier.manifest, task: { type: 'regression', regression: { outputs: ['logits'] } } },
  });
  const refusalOf = (message: object, installed = classifier): string => {
    try {
      readObservation(toMessage(message), undefined, installed, 1);
      return 'none';
    } catch (error) {
      const { code, message: why } = error as Error & { code: string };
      return `${code}: ${why}`;
    }
  };
  const scores = (name: string, shape: number[], data: unknown[], datatype = 'FP32') => ({
    outputs: [{ name, datatype, shape, data }],
  });

  it.each([
    ['a class that it does not have', { classes: [3], confidences: [1] }, '3 classes, and none 3'],
    ['an output that it does not have', scores('probability', [1, 3], [1, 0, 0]), 'no output "probability"'],
    ['scores for other classes', scores('probabilities', [1, 2], [1, 0]), 'has the shape [1, 2], not [-1, 3]'],
    ['strings for numbers', scores('probabilities', [1, 3], ['1', '0', '0'], 'BYTES'), 'is BYTES, not FP32'],
    ['fewer answers than rows', { features: [[1, 2, 3, 4]], classes: [], confidences: [] }, '1 rows of features and 0'],
  ])('refuses %s', (_, message, why) => {
    expect(refusalOf(message)).toContain(`OBSERVE_INVALID`);
    expect(refusalOf(message)).toContain(why);
  });

  it('refuses classes for another task', () => {
    expect(refusalOf({ classes: [0], confidences: [1] }, regressor())).toContain('is a model for regression');
  });
});
