import { ModelName, Version, type Digest } from '@drover/shared/ids';
import type { InferenceRecord, ServedBy } from '../../src/serve/index.js';
import { someDigest } from '../serve/installed-classifier.js';

export const MODEL = ModelName('classifier');
export const RELEASE: ServedBy = { model: MODEL, release: { version: Version('1.0.0'), digest: someDigest('a') } };
export const OTHER_RELEASE: ServedBy = {
  model: MODEL,
  release: { version: Version('2.0.0'), digest: someDigest('b') },
};
export const adapted = (adaptation: Digest): ServedBy => ({ ...RELEASE, adaptation });

/** One request as serving records it: `rows` of `width` values, all predicted as `prediction`. */
export function served(requestId: string, rows: number[][], overrides: Partial<InferenceRecord> = {}): InferenceRecord {
  const width = rows[0]?.length ?? 0;
  return {
    ...RELEASE,
    requestId,
    atMs: 1_000,
    latencyUs: 500,
    failed: false,
    inferences: rows.length,
    features: { values: Float32Array.from(rows.flat()), count: rows.length, width },
    predictions: {
      classes: new Int32Array(rows.length).fill(1),
      confidences: new Float32Array(rows.length).fill(0.75),
    },
    ...overrides,
  };
}
