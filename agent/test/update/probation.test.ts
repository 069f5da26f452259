import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { judgeProbation } from '../../src/update/probation.js';

const bounds = { minMs: 1000, minRequests: 100, maxMs: 5000, maxFailureShare: 0.1, maxCrashes: 2 };
const judge = (requests: number, failures: number, crashes: number, elapsedMs: number) =>
  judgeProbation(bounds, { requests, failures, crashes }, elapsedMs).kind;

describe('when a candidate is in probation', () => {
  it.each([
    ['time and requests are enough', 100, 0, 0, 1000, 'healthy'],
    ['time is short', 1000, 0, 0, 999, 'undecided'],
    ['requests are short', 99, 0, 0, 4999, 'undecided'],
    ['requests are short to the end', 3, 0, 0, 5000, 'healthy'],
    ['nothing was asked to the end', 0, 0, 0, 5000, 'healthy'],
    ['one early request failed', 1, 1, 0, 10, 'undecided'],
    ['more failed than successes can mend', 11, 11, 0, 10, 'unhealthy'],
    ['the share of failures is at its bound', 200, 20, 0, 1000, 'healthy'],
    ['the share of failures is above its bound', 200, 21, 0, 1000, 'unhealthy'],
    ['few were asked to the end and too many failed', 3, 1, 0, 5000, 'unhealthy'],
    ['it crashed once', 100, 0, 1, 1000, 'healthy'],
    ['it crashed too often', 100, 0, 2, 0, 'unhealthy'],
  ] as const)(
    'when %s: %d requests, %d failed, %d crashes at %d ms: it is %s',
    (_what, requests, failures, crashes, atMs, verdict) => {
      expect(judge(requests, failures, crashes, atMs)).toBe(verdict);
    },
  );

  it.each([
    ['its slowest requests keep the contract', { latencyP99Us: 20_000 }, 100, 'healthy'],
    ['they break it', { latencyP99Us: 20_001 }, 100, 'PROBATION_SLOW'],
    ['there are too few to tell', { latencyP99Us: 90_000 }, 99, 'undecided'],
    ['it takes the memory that it may, and the runtime its own', { memoryMiB: 178 }, 100, 'healthy'],
    ['it takes more', { memoryMiB: 179 }, 1, 'PROBATION_MEMORY'],
  ] as const)('when %s (%j, %d requests): %s', (_what, measured, requests, expected) => {
    const health = { requests, failures: 0, crashes: 0, ...measured };
    const verdict = judgeProbation(bounds, health, 1000, { maxLatencyMs: 20, maxMemoryMiB: 50 });
    expect(verdict.kind === 'unhealthy' ? verdict.error.code : verdict.kind).toBe(expected);
  });

  it('always decides by the end, and looks again before time alone decides', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(300), fc.nat(3), fc.nat(8000), (requests, failed, crashes, elapsedMs) => {
        const health = { requests, failures: Math.min(requests, failed), crashes };
        const verdict = judgeProbation(bounds, health, elapsedMs);
        if (elapsedMs >= bounds.maxMs) expect(verdict.kind).not.toBe('undecided');
        if (verdict.kind !== 'undecided') return;
        expect(verdict.nextLookMs).toBeGreaterThan(0);
        expect(elapsedMs + verdict.nextLookMs).toBeLessThanOrEqual(bounds.maxMs);
      }),
    );
  });
});
