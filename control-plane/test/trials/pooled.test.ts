import fc from 'fast-check';
import { expect, it } from 'vitest';
import { digestOf, ModelName, Version } from '@drover/shared/ids';
import type { ComparisonCounts } from '@drover/shared/protocol';
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
