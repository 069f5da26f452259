import type { StepDistribution } from '../profile/index.js';

/** The empirical distribution of ascending values. `total` also counts missing values, which lie beyond every number. */
export function empiricalDistribution(sorted: Float32Array, total: number = sorted.length): StepDistribution {
  const cumulative = new Float64Array(sorted.length);
  for (let index = 0; index < sorted.length; index++) cumulative[index] = (index + 1) / total;
  return { values: sorted, cumulative };
}

/**
 * Kolmogorov–Smirnov distance sup |F − G| of two step functions, in [0, 1]. Both functions are compared only *after* all values tied at a
 * point, so that ties, within a sample and across, are right (as `scipy.stats.ks_2samp` does it).
 *
 * A distribution that ends below 1 has the rest of its mass on "missing", which counts as the largest value: a sensor that falls silent
 * is as far from its reference as one that jumps.
 */
export function ksStatistic(window: StepDistribution, reference: StepDistribution): number {
  let distance = 0;
  let windowShare = 0;
  let referenceIndex = 0;
  // Between two points of the window its function is flat and the reference only rises, so that the supremum lies at one of the two ends.
  for (let index = 0; index < window.values.length; index++) {
    const point = window.values[index] as number;
    referenceIndex = firstAtLeast(reference.values, point, referenceIndex);
    distance = Math.max(distance, Math.abs(windowShare - shareBefore(reference, referenceIndex)));
    while (window.values[index + 1] === point) index++;
    windowShare = window.cumulative[index] as number;
    while (reference.values[referenceIndex] === point) referenceIndex++;
    distance = Math.max(distance, Math.abs(windowShare - shareBefore(reference, referenceIndex)));
  }
  return Math.max(distance, Math.abs(windowShare - shareBefore(reference, reference.values.length)));
}

function shareBefore({ cumulative }: StepDistribution, index: number): number {
  return index === 0 ? 0 : (cumulative[index - 1] as number);
}

/** Index, from `from` on, of the first of the ascending values that is ≥ x. */
export function firstAtLeast(values: Float32Array, x: number, from = 0): number {
  let low = from;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as number) < x) low = middle + 1;
    else high = middle;
  }
  return low;
}
