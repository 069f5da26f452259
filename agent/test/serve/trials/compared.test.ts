import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bucketOf } from '@drover/shared/statistics';
import type { Task } from '@drover/shared/task';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comparing, DEFAULT_TOLERANCE } from '../../../src/serve/trials/compared.js';
import type { InstalledModel } from '../../../src/update/ports.js';
import { installClassifier } from '../installed-classifier.js';

describe('when two answers are compared', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-compared-'));
  let model: InstalledModel;
  beforeAll(async () => void (model = await installClassifier({ directory })));
  afterAll(() => rmSync(directory, { recursive: true }));
  const compare = (task: Task, active: readonly number[], candidate: readonly number[]) => {
    const outputs = (data: readonly number[]) => ({
      logits: { datatype: 'FP32' as const, shape: [data.length, 1], data: Float32Array.from(data) },
    });
    const variant = {
      ...model.variant,
      signature: { inputs: [], outputs: [{ name: 'logits', datatype: 'FP32' as const, shape: [-1, 1] }] },
    };
    const tried = { ...model, variant, manifest: { ...model.manifest, task } };
    const session = { run: () => Promise.resolve(outputs(candidate)) };
    return comparing(session, tried, DEFAULT_TOLERANCE)({}, outputs(active));
  };
  const bucketsOf = (values: readonly number[]) => Int16Array.from(values, (value) => bucketOf(value) ?? NaN);

  it('of a regression, the buckets of its values are told, in the unit of the task, and of what is no number none', async () => {
    const task: Task = { type: 'regression', regression: { outputs: ['logits'], scale: 10 } };
    const { values } = await compare(task, [1, -2, 0], [1, NaN, Infinity]);
    expect(values).toEqual({ active: bucketsOf([10, -20, 0]), candidate: bucketsOf([10, Infinity]) });
  });

  it('of anomalies, those of their scores', async () => {
    const task: Task = { type: 'anomaly', anomaly: { score: 'logits', threshold: 1, anomalous: 'above' } };
    const { values } = await compare(task, [0.5], [2]);
    expect(values).toEqual({ active: bucketsOf([0.5]), candidate: bucketsOf([2]) });
  });

  it('of many values, at most a thousand of each answer, evenly over it', async () => {
    const task: Task = { type: 'regression', regression: { outputs: ['logits'] } };
    const many = Array.from({ length: 2_500 }, (_, index) => index);
    const { values } = await compare(task, many, many);
    expect(values?.active).toEqual(bucketsOf(many.filter((index) => index % 3 === 0)));
  });
});
