import { Type, type Static } from 'typebox';
import { count, digest, modelName, release, share, text } from './vocabulary.js';

const microseconds = Type.Number({ minimum: 0 });
const Latencies = Type.Object({
  count,
  meanUs: microseconds,
  p50Us: microseconds,
  p99Us: microseconds,
  maxUs: microseconds,
});
const countsByIndex = Type.Record(Type.String(), count);

/** What a device counted in one reporting window of a release that it tries beside another (docs/protocol.md, section 4: trials). */
export const ComparisonCounts = Type.Object({
  model: modelName,
  /** What served. */
  active: Type.Object({ release, adaptation: Type.Optional(digest) }),
  candidate: release,
  /** A TrialMode; a newer agent may know more. */
  mode: text(32),
  /** Requests that met the trial. `left`: to the release that serves, of a split. */
  outcomes: Type.Object({ compared: count, answered: count, left: count, failed: count, dropped: count }),
  agreement: Type.Optional(
    Type.Object({
      /** What the numbers are shares of, by the task. */
      measure: text(32),
      /** Weighted by what was compared. */
      mean: share,
      /** Rows, values, boxes, pixels or elements. */
      compared: count,
      /** Of one request. */
      lowest: share,
      beyondTolerance: count,
      largestDifference: Type.Number({ minimum: 0 }),
      /** Requests by their agreement: below 0.1, below 0.2, …, up to 1. */
      tenths: Type.Array(count, { minItems: 10, maxItems: 10 }),
    }),
  ),
  latencies: Type.Object({ active: Type.Optional(Latencies), candidate: Type.Optional(Latencies) }),
  /** Of classifications: how often each class was given, by its index. */
  classes: Type.Optional(Type.Object({ active: countsByIndex, candidate: countsByIndex })),
  /** Of values of regressions and scores of anomalies: how often each bucket was met (docs/protocol.md, section 4: trials). */
  values: Type.Optional(Type.Object({ active: countsByIndex, candidate: countsByIndex })),
});
export type ComparisonCounts = Static<typeof ComparisonCounts>;
