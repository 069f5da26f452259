import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateLimit, SharedLimit } from '../../src/attach/observe/rate-limit.js';

describe('a limit that several share', () => {
  /** Each asks for one so many times in every millisecond; what each of them got. */
  const played = (perSecond: number, askedPerMs: readonly number[], forMs: number): number[] => {
    let nowMs = 0;
    const limit = new SharedLimit(perSecond, () => nowMs);
    const shares = askedPerMs.map(() => limit.join());
    const got = askedPerMs.map(() => 0);
    for (; nowMs < forMs; nowMs++)
      for (const [index, asked] of askedPerMs.entries())
        for (let each = 0; each < asked; each++) if (shares[index]?.take()) got[index] = (got[index] ?? 0) + 1;
    return got;
  };

  it('when they ask, together they get no more than it and one second of it at once, and none less than its share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 2_000 }),
        fc.array(fc.constantFrom(0, 1, 50), { minLength: 1, maxLength: 6 }),
        (perSecond, asked) => {
          const seconds = 3;
          const got = played(perSecond, asked, seconds * 1_000);
          expect(got.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(
            perSecond * (seconds + 1) + asked.length,
          );
          const fair = Math.floor((perSecond / 2 / asked.length) * seconds) - 1;
          for (const [index, each] of asked.entries())
            expect(got[index]).toBeGreaterThanOrEqual(Math.min(each * seconds * 1_000, fair));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('when one is alone, it has all of it; when it comes again and again, no more', () => {
    expect(played(1_000, [50], 4_000)[0]).toBeGreaterThanOrEqual(3_990);
    const limit = new SharedLimit(1_000, () => 0);
    let taken = 0;
    for (let round = 0; round < 100; round++) {
      const share = limit.join();
      while (share.take()) taken += 1;
      share.leave();
    }
    expect(taken).toBe(500);
  });

  it('when it is less than one in a second, there is still room for one', () => {
    let nowMs = 0;
    const limit = new RateLimit(0.5, () => nowMs);
    expect([limit.take(), limit.take()]).toEqual([true, false]);
    nowMs = 2_000;
    expect([limit.hasRoom, limit.take(), limit.hasRoom]).toEqual([true, true, false]);
  });
});
