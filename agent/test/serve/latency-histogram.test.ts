import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LatencyHistogram } from '../../src/serve/index.js';

const latencies = fc.array(fc.integer({ min: 1, max: 3_600_000_000 }), { minLength: 1, maxLength: 200 });

describe('the latency histogram', () => {
  it('when asked for a quantile, it is at most 9 % (and rounding) above the exact one, and never below', () => {
    fc.assert(
      fc.property(latencies, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, quantile) => {
        const histogram = new LatencyHistogram();
        for (const value of values) histogram.add(value);
        const sorted = values.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(quantile * values.length)) - 1] ?? 0;
        const estimate = histogram.quantileUs(quantile) ?? 0;
        expect(estimate).toBeGreaterThanOrEqual(exact);
        expect(estimate).toBeLessThanOrEqual(exact * 2 ** (1 / 8) + 1);
      }),
    );
  });

  it('when it was stored and read again, it answers the same', () => {
    fc.assert(
      fc.property(latencies, (values) => {
        const histogram = new LatencyHistogram();
        for (const value of values) histogram.add(value);
        const { counts, maxUs } = JSON.parse(JSON.stringify(histogram)) as { counts: number[]; maxUs: number };
        const again = new LatencyHistogram(counts, maxUs);
        expect([again.quantileUs(0.5), again.quantileUs(0.99), again.maxUs]).toEqual([
          histogram.quantileUs(0.5),
          histogram.quantileUs(0.99),
          Math.max(...values),
        ]);
      }),
    );
  });

  it('when nothing was added, there is no quantile', () => {
    expect(new LatencyHistogram().quantileUs(0.99)).toBeUndefined();
  });
});
