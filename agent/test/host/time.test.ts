import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { backoffMs, BUILD_FLOOR_MS, clockState, systemClock, timeToJudgeBy } from '../../src/host/index.js';

describe('when the wall clock is judged', () => {
  it('is behind at 1970 and plausible now', () => {
    expect(clockState(0, 0)).toBe('behind');
    expect(clockState(Date.now(), 0)).toBe('plausible');
  });
  it('is behind when a signed order proves a later time, apart from a small lag', () => {
    const floor = BUILD_FLOOR_MS + 1e10;
    expect(clockState(floor - 3_600_000, floor)).toBe('plausible');
    expect(clockState(floor - 48 * 3_600_000, floor)).toBe('behind');
    expect(timeToJudgeBy(0, floor)).toBe(floor);
    expect(timeToJudgeBy(floor + 5, floor)).toBe(floor + 5);
  });
});

describe('when the system clock sleeps', () => {
  it('rejects with the reason of the signal', async () => {
    const controller = new AbortController();
    const sleeping = systemClock.sleep(60_000, controller.signal);
    controller.abort(new Error('enough'));
    await expect(sleeping).rejects.toThrow('enough');
  });
});

describe('when a retry waits', () => {
  it('waits between nothing and the cap, never zero', () => {
    fc.assert(
      fc.property(fc.nat(5000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, random) => {
        const ms = backoffMs({ firstMs: 500, maxMs: 60_000 }, attempt, () => random);
        expect(ms).toBeGreaterThan(0);
        expect(ms).toBeLessThanOrEqual(Math.min(60_000, 500 * 2 ** attempt));
      }),
    );
  });
});
