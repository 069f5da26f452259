import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  binomialLowerTail,
  binomialProbability,
  binomialUpperTail,
  clopperPearson,
  mcNemarTest,
  signTest,
} from '../../src/statistics/index.js';

const relativeError = (actual: number, expected: number): number => Math.abs(actual - expected) / Math.abs(expected);

describe('when binomial tails are computed', () => {
  // scipy.stats.binom.sf(k - 1, n, p), scipy.stats.binom.cdf(k, n, p)
  it.each([
    [0, 10, 0.3, 1.0, 0.028247524900000005],
    [3, 10, 0.3, 0.6172172136000003, 0.6496107184000002],
    [10, 10, 0.3, 5.9048999999999975e-6, 1.0],
    [7, 20, 0.05, 3.394616530143376e-5, 0.9999971431146172],
    [60, 100, 0.5, 0.028443966820490444, 0.9823998998911476],
    [5200, 10000, 0.5, 3.2967577993361714e-5, 0.999969705391186],
    [1, 1000000, 1e-6, 0.632120742768355, 0.7357588823429155],
    [250, 1000, 0.2, 6.883012222734626e-5, 0.9999492954634916],
    [40, 50, 1e-3, 1.0172499917778872e-110, 1.0],
  ])('agrees with scipy to 1e-11: k = %d, n = %d, p = %f', (k, n, p, upper, lower) => {
    expect(relativeError(binomialUpperTail(k, n, p), upper)).toBeLessThan(1e-11);
    expect(relativeError(binomialLowerTail(k, n, p), lower)).toBeLessThan(1e-11);
  });

  it('the tails on either side of k add up to one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.nat(),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, draw, p) => {
          const k = draw % (n + 1);
          const sum = binomialUpperTail(k, n, p) + binomialLowerTail(k, n, p) - binomialProbability(k, n, p);
          expect(sum).toBeCloseTo(1, 11);
        },
      ),
    );
  });

  it('refuses what is no binomial', () => {
    expect(() => binomialUpperTail(3, 2, 0.5)).toThrow(expect.objectContaining({ code: 'STATISTICS_ARGUMENT' }));
    expect(() => binomialUpperTail(1, 2, Number.NaN)).toThrow(expect.objectContaining({ code: 'STATISTICS_ARGUMENT' }));
    expect(() => clopperPearson({ successes: 1, trials: 2, confidence: 1 })).toThrow(/confidence/);
  });
});

describe('when a share is bounded by Clopper and Pearson', () => {
  // scipy.stats.binomtest(k, n).proportion_ci(confidence, 'exact')
  it.each([
    [0, 10, 0.95, 0, 0.30849710781876294],
    [10, 10, 0.95, 0.6915028921812371, 1],
    [3, 20, 0.95, 0.03207093718554477, 0.37892682654529564],
    [50, 100, 0.99, 0.36886143735890525, 0.6311385626410948],
    [1, 1000, 0.9, 5.129197890907456e-5, 0.004734993575492847],
    [9990, 10000, 0.999, 0.9974763699815818, 0.9997300116177678],
  ])('agrees with scipy: %d of %d at %f', (successes, trials, confidence, lower, upper) => {
    const interval = clopperPearson({ successes, trials, confidence });
    expect(interval.lower).toBeCloseTo(lower, 11);
    expect(interval.upper).toBeCloseTo(upper, 11);
  });
});

describe('when two models are compared on the same rows', () => {
  // scipy.stats.binomtest(b, b + c, 0.5, alternative='greater').pvalue
  it.each([
    [10, 2, 0.019287109375],
    [5, 5, 0.623046875],
    [30, 12, 0.003957948667448363],
    [600, 500, 0.0014097724957182142],
  ])('agrees with scipy: %d against %d discordant rows', (onlyCandidateRight, onlyBaselineRight, expected) => {
    expect(relativeError(mcNemarTest({ onlyCandidateRight, onlyBaselineRight }), expected)).toBeLessThan(1e-11);
  });

  it('has no evidence without discordant rows', () => {
    expect(signTest({ wins: 0, losses: 0 })).toBe(1);
  });
});
