import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decoderFor } from '@drover/shared/task';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordOf } from '../../src/serve/inline/observation.js';
import { toFloat16, type ModelTensor } from '../../src/serve/tensors/tensor.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';

describe('when the predictions of an answer are recorded', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-observation-'));
  let model: InstalledModel;
  beforeAll(async () => void (model = await installClassifier({ directory })));
  afterAll(() => rmSync(directory, { recursive: true }));
  const run = { requestId: 'a', atMs: 0, latencyUs: 1, inferences: 1, features: undefined };
  const seen = (probabilities: ModelTensor) => recordOf(model, { ...run, outputs: { probabilities } }).predictions;

  it('finds the classes of image classifiers, whose scores end in axes of one', () => {
    const scores = { datatype: 'FP32', shape: [2, 3, 1, 1], data: Float32Array.of(0, 1, 0, 0, 0, 1) } as const;
    expect(seen(scores)).toEqual({ classes: Int32Array.of(1, 2), confidences: Float32Array.of(1, 1) });
  });

  it('reads FP16', () => {
    const data = Uint16Array.from([0.25, 0.5, 0.25], toFloat16);
    expect(seen({ datatype: 'FP16', shape: [1, 3], data })).toEqual({
      classes: Int32Array.of(1),
      confidences: Float32Array.of(0.5),
    });
  });

  it('sees what the decoder of the task sees', () => {
    const decoder = decoderFor(model.manifest.task, model.variant.signature.outputs);
    const score = fc.float({ noNaN: true, noDefaultInfinity: true, min: -30, max: 30 });
    fc.assert(
      fc.property(fc.array(fc.tuple(score, score, score), { minLength: 1, maxLength: 5 }), (rows) => {
        const probabilities = {
          datatype: 'FP32',
          shape: [rows.length, 3],
          data: Float32Array.from(rows.flat()),
        } as const;
        const decoded = decoder.decode({ probabilities });
        if (decoded.kind !== 'classification') throw new Error(decoded.kind);
        const found = seen(probabilities);
        expect(found?.classes).toEqual(decoded.classes);
        decoded.classes.forEach((best, row) =>
          expect(found?.confidences[row]).toBeCloseTo(decoded.probabilities[3 * row + best] ?? NaN, 5),
        );
      }),
    );
  });

  it.each([
    ['one value per row', ['y'], [3, 1], Float64Array.of(2, 4, 6)],
    ['another number of values than rows', ['y'], [3, 2], undefined],
    ['two outputs', ['y', 'z'], [3, 1], undefined],
  ] as const)(
    'of a regression with %s, gives the values in the unit of the task, or none',
    (_, names, shape, values) => {
      const regression = { outputs: [...names], unit: 'bar', scale: 2 };
      const regressor = {
        ...model,
        manifest: { ...model.manifest, task: { type: 'regression' as const, regression } },
      };
      const data = Float32Array.from({ length: shape[0] * shape[1] }, (_each, index) => index + 1);
      const outputs = {
        y: { datatype: 'FP32', shape: [...shape], data },
        z: { datatype: 'FP32', shape: [...shape], data },
      } as const;
      expect(recordOf(regressor, { ...run, outputs, inferences: 3 }).values).toEqual(values);
      if (!values) return;
      const decoder = decoderFor(regressor.manifest.task, [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }]);
      expect(decoder.decode(outputs)).toEqual({ kind: 'regression', values });
    },
  );
});
