import type { FeatureProfile, Profile, StepDistribution } from '../profile/index.js';
import type { DriftThresholds } from './drift-thresholds.js';
import { StatisticsError } from './errors.js';
import { empiricalDistribution, ksStatistic } from './kolmogorov.js';

const WORST_FEATURES = 5;

/** `rows` is row-major, `count` × `width`, in time order; NaN and infinities are missing values. */
export interface WindowRows {
  readonly rows: Float32Array;
  readonly width: number;
  readonly count: number;
}

export interface DriftDecision {
  readonly verdict: 'DRIFT' | 'NO_DRIFT' | 'NO_DATA';
  readonly drift: boolean;
  /** Largest distance of any feature, in [0, 1]; null without data. */
  readonly statistic: number | null;
  readonly threshold: number;
  readonly windowSize: number;
  /** The features that moved most, the farthest first. */
  readonly worst: readonly { readonly feature: string; readonly ks: number }[];
}

/**
 * Compares the newest `thresholds.windowSize` rows with the reference. Pure: the same inputs give the same decision bit for bit.
 * A window with fewer rows is NO_DATA, because the threshold would not hold for it.
 *
 * @throws StatisticsError STATISTICS_ARGUMENT when the window, the thresholds and the reference differ in their number of features
 */
export function detectDrift({
  reference,
  thresholds,
  window,
}: {
  readonly reference: Profile;
  readonly thresholds: DriftThresholds;
  readonly window: WindowRows;
}): DriftDecision {
  const { windowSize, threshold } = thresholds;
  const widths = [window.width, thresholds.features, reference.features.length];
  if (new Set(widths).size !== 1 || window.rows.length < window.count * window.width) {
    throw new StatisticsError(
      'STATISTICS_ARGUMENT',
      `Window, thresholds and reference profile have ${widths.join(', ')} features, the window ${window.rows.length} values in ${window.count} rows.`,
      { remedy: 'Use the profile and thresholds of the release that served the window.' },
    );
  }
  if (window.count < windowSize || reference.count === 0) {
    return { verdict: 'NO_DATA', drift: false, statistic: null, threshold, windowSize, worst: [] };
  }
  const newest = window.rows.subarray((window.count - windowSize) * window.width, window.count * window.width);
  const distances = featureDistances(newest, window.width, reference.features.map(referenceDistribution));
  const worst = Array.from(distances, (ks, index) => ({ feature: reference.features[index]?.name ?? '', ks }))
    .sort((a, b) => b.ks - a.ks)
    .slice(0, WORST_FEATURES);
  const statistic = worst[0]?.ks ?? 0;
  const drift = statistic > threshold;
  return { verdict: drift ? 'DRIFT' : 'NO_DRIFT', drift, statistic, threshold, windowSize, worst };
}

/** The sketched distribution with missing values as mass beyond every number (see `ksStatistic`). */
export function referenceDistribution({ sketch, count, missing }: FeatureProfile): StepDistribution {
  const { values, cumulative } = sketch.distribution();
  return {
    values,
    cumulative: missing === 0 ? cumulative : cumulative.map((share) => (share * count) / (count + missing)),
  };
}

/** Distance of each feature of all `rows` from its reference. */
export function featureDistances(
  rows: Float32Array,
  width: number,
  references: readonly StepDistribution[],
): Float64Array {
  const count = rows.length / width;
  const column = new Float32Array(count);
  return Float64Array.from(references, (reference, feature) => {
    let finite = 0;
    for (let row = 0; row < count; row++) {
      const value = rows[row * width + feature] as number;
      if (Number.isFinite(value)) column[finite++] = value;
    }
    return ksStatistic(empiricalDistribution(column.slice(0, finite).sort(), count), reference);
  });
}
