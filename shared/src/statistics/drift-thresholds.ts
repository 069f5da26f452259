import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '../validation/index.js';
import { StatisticsError } from './errors.js';

const strict = { additionalProperties: false } as const;
const count = Type.Integer({ minimum: 1, maximum: 2 ** 40 });

/** What a release says about drift. Computed at publish time, signed in the manifest; a device only compares. */
export const DriftThresholds = Type.Object(
  {
    /** Largest Kolmogorov–Smirnov distance of any feature of the window from the reference profile. */
    detector: Type.Literal('ks-max'),
    /** Rows of a window; the threshold holds for exactly this many. */
    windowSize: Type.Integer({ minimum: 10, maximum: 1_000_000 }),
    /** Probability of an alarm per window without drift, all features together. */
    falseAlarmRate: Type.Number({ exclusiveMinimum: 0, maximum: 0.5 }),
    /**
     * Windows in a row that must exceed the threshold before an alarm. The chance of a false one is at most `falseAlarmRate`, and its power
     * `confirmWindows` where windows without drift are independent of each other.
     */
    confirmWindows: Type.Integer({ minimum: 1, maximum: 10 }),
    /** Drift is a statistic above it. */
    threshold: Type.Number({ minimum: 0, maximum: 1 }),
    features: Type.Integer({ minimum: 1, maximum: 10_000 }),
    referenceRows: count,
    /** All that is needed, with the reference rows, to compute the threshold again. */
    calibration: Type.Object(
      {
        method: Type.Literal('moving-block-bootstrap'),
        /** Rows that are drawn together. */
        blockLength: count,
        /** Windows drawn per stream and half. */
        runs: count,
        seed: Type.Integer(),
        /** Streams that windows were drawn from, and those too short for it. */
        streams: count,
        shortStreams: Type.Integer({ minimum: 0 }),
        /** Largest lag-1 autocorrelation of the ranks of any feature. */
        autocorrelation: Type.Number({ minimum: -1, maximum: 1 }),
        /** Largest integrated autocorrelation time of any feature, in rows. */
        integratedTime: Type.Number({ minimum: 1 }),
      },
      strict,
    ),
  },
  strict,
);
export type DriftThresholds = Static<typeof DriftThresholds>;

/** @throws StatisticsError STATISTICS_INVALID naming all bad paths */
export function parseDriftThresholds(json: unknown): DriftThresholds {
  return validate(
    DriftThresholds,
    json,
    (problems) =>
      new StatisticsError(
        'STATISTICS_INVALID',
        `The drift thresholds do not follow the schema: ${formatProblems(problems)}.`,
        {
          remedy: 'Publish the release again; `drover model publish` computes the thresholds from the reference rows.',
        },
      ),
  );
}
