import fc from 'fast-check';
import { expect, it } from 'vitest';
import { digestOf, ModelName, Version } from '@drover/shared/ids';
import type { ComparisonCounts } from '@drover/shared/protocol';
import { bucketOf } from '@drover/shared/statistics';
import { pooledComparison } from '../../src/trials/pooled.js';

const release = (version: string) => ({ version: Version(version), digest: digestOf(Buffer.from(version)) });
const share = fc.double({ min: 0, max: 1, noNaN: true });
const count = fc.nat(1000);
const latencies = fc.record({
  count: fc.integer({ min: 1, max: 1000 }),
  meanUs: fc.nat(10_000),
  p50Us: count,
  p99Us: count,
  maxUs: count,
});
const anyCounts: fc.Arbitrary<ComparisonCounts> = fc.record({
  model: fc.constant(ModelName('m')),
  active: fc.constant({ release: release('1.0.0') }),
  candidate: fc.constant(release('1.1.0')),
  mode: fc.constant('shadow'),
  outcomes: fc.record({ compared: count, answered: count, left: count, failed: count, dropped: count }),
  agreement: fc.record({
    measure: fc.constant('same-class'),
    mean: share,
    compared: fc.integer({ min: 1, max: 1000 }),
    lowest: share,
    beyondTolerance: count,
    largestDifference: fc.nat(100),
    tenths: fc.array(count, { minLength: 10, maxLength: 10 }),
  }),
  latencies: fc.record({ active: latencies, candidate: latencies }),
  classes: fc.constant({ active: { 0: 1 }, candidate: { 1: 1 } }),
});

it('when windows are taken together, it is as if they had been one', () => {
  fc.assert(
    fc.property(fc.array(anyCounts, { minLength: 1, maxLength: 8 }), (counts) => {
      const { outcomes, agreement, latencies: found } = pooledComparison(counts);
      const sum = (of: (each: ComparisonCounts) => number) => counts.reduce((total, each) => total + of(each), 0);
      expect(outcomes.compared).toBe(sum((each) => each.outcomes.compared));
      const agreed = sum(({ agreement: each }) => (each ? each.mean * each.compared : 0));
      expect((agreement?.mean ?? 0) * (agreement?.compared ?? 0)).toBeCloseTo(agreed, 5);
      const lows = counts.map(({ agreement: each }) => each?.lowest ?? 1);
      expect(agreement?.lowest).toBe(Math.min(...lows));
      expect(found.active?.count).toBe(sum(({ latencies: { active } }) => active?.count ?? 0));
    }),
  );
});

it('when nothing was compared, says so', () => {
  expect(pooledComparison([])).toEqual({
    outcomes: { compared: 0, answered: 0, left: 0, failed: 0, dropped: 0 },
    latencies: {},
  });
});

it('when every answer goes to another class, the shift is whole', () => {
  const [counts] = fc.sample(anyCounts, 1);
  expect(pooledComparison([counts as ComparisonCounts]).classShift).toBe(1);
});

it('when values are distributed otherwise, the shift is what the empirical distributions differ by, but for the width of buckets', () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const values = fc.array(value, { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(values, values, (active, candidate) => {
      const [counts] = fc.sample(anyCounts, 1);
      const buckets = (of: readonly number[]): Record<string, number> => {
        const met = of.map((each) => String(bucketOf(each)));
        const pairs = met.map((bucket) => [bucket, met.filter((each) => each === bucket).length] as const);
        return Object.fromEntries(pairs);
      };
      const told = { active: buckets(active), candidate: buckets(candidate) };
      const { valueShift = NaN } = pooledComparison([{ ...(counts as ComparisonCounts), values: told }]);
      const share = (of: readonly number[], bound: number) => of.filter((each) => each <= bound).length / of.length;
      const bounds = [...active, ...candidate];
      const exact = Math.max(...bounds.map((bound) => Math.abs(share(active, bound) - share(candidate, bound))));
      expect(valueShift).toBeLessThanOrEqual(exact + 1e-12);
      // Values further apart than a bucket is wide lie in different ones.
      const areApart = bounds.every((left) =>
        bounds.every(
          (right) => left === right || Math.abs(left - right) > 0.05 * Math.max(Math.abs(left), Math.abs(right)) + 1e-8,
        ),
      );
      if (areApart) expect(valueShift).toBeCloseTo(exact, 12);
    }),
  );
  const few = [
    { ...(fc.sample(anyCounts, 1)[0] as ComparisonCounts), values: { active: { x: 3, 5: 1 }, candidate: { 5: 2 } } },
  ];
  expect(pooledComparison(few).valueShift).toBe(0);
});

it('buckets ascend with the value, and their ends are 4 % apart', () => {
  const value = fc.double({ noNaN: true });
  fc.assert(
    fc.property(value, value, (left, right) => {
      const [low = NaN, high = NaN] = [left, right].sort((a, b) => a - b).map(bucketOf);
      expect(low).toBeLessThanOrEqual(high);
      expect(bucketOf(-left)).toBe(0 - (bucketOf(left) ?? NaN));
    }),
  );
  const inside = fc.double({ min: 1e-8, max: 1e20, noNaN: true });
  fc.assert(
    fc.property(inside, (each) => {
      expect(bucketOf(each * 1.041)).toBeGreaterThan(bucketOf(each) ?? NaN);
    }),
  );
  expect(bucketOf(NaN)).toBeUndefined();
});
