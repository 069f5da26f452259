import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decoderFor } from '@drover/shared/task';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { predictionsOf } from '../../src/serve/inline/observation.js';
import { toFloat16, type ModelTensor } from '../../src/serve/tensors/tensor.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { installClassifier } from './installed-classifier.js';

describe('when the predictions of an answer are recorded', () => {
  const directory = mkdtempSync(join(tmpdir(), 'drover-observation-'));
  let model: InstalledModel;
  beforeAll(async () => void (model = await installClassifier({ directory })));
  afterAll(() => rmSync(directory, { recursive: true }));
  const seen = (probabilities: ModelTensor) => predictionsOf(model, { probabilities });

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
});
