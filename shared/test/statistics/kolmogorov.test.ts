import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { empiricalDistribution, ksStatistic } from '../../src/statistics/index.js';

const distance = (a: readonly number[], b: readonly number[]): number =>
  ksStatistic(empiricalDistribution(Float32Array.from(a).sort()), empiricalDistribution(Float32Array.from(b).sort()));

/** The definition, at every point of either sample. */
function distanceByDefinition(a: readonly number[], b: readonly number[]): number {
  const share = (sample: readonly number[], x: number): number =>
    sample.filter((value) => value <= x).length / sample.length;
  return Math.max(...[...a, ...b].map((x) => Math.abs(share(a, x) - share(b, x))));
}

describe('when two samples are compared by Kolmogorov–Smirnov', () => {
  // scipy.stats.ks_2samp(a, b).statistic
  it.each([
    [[1, 1, 2, 3, 3, 3, 5], [1, 2, 2, 4, 5, 5, 5, 6], 0.4821428571428571],
    [[1, 2, 3], [4, 5], 1],
    [[0.1, 0.5, 0.9, 1.7], [0.3, 0.5, 0.5, 2.2, 3], 0.4],
  ])('agrees with scipy, ties included: %j and %j', (a, b, expected) => {
    expect(distance(a, b)).toBeCloseTo(expected, 14);
  });

  it('is the supremum of its definition, symmetric, and 0 for equal samples', () => {
    const sample = fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        expect(distance(a, b)).toBeCloseTo(distanceByDefinition(a, b), 12);
        expect(distance(b, a)).toBeCloseTo(distance(a, b), 12);
        expect(distance(a, a)).toBe(0);
      }),
    );
  });

  it('counts missing values as the largest value', () => {
    const reference = empiricalDistribution(Float32Array.of(1, 2, 3, 4));
    const silent = empiricalDistribution(new Float32Array(0), 4);
    const halfSilent = empiricalDistribution(Float32Array.of(1, 2), 4);
    expect(ksStatistic(silent, reference)).toBe(1);
    expect(ksStatistic(halfSilent, reference)).toBe(0.5);
    expect(ksStatistic(reference, halfSilent)).toBe(0.5);
    expect(ksStatistic(halfSilent, halfSilent)).toBe(0);
  });
});
