import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accrue, affords, spend, type Budget } from '../../../src/monitor/labelling/budget.js';

const DAY_MS = 86_400_000;

/** Spends whenever it can, at each of these times. */
function greedy(perDay: number, looks: readonly { readonly atMs: number; readonly factor: number }[]): number[] {
  let budget: Budget | undefined;
  const spentAt: number[] = [];
  for (const { atMs, factor } of looks) {
    budget = accrue(budget, { perDay, factor }, atMs);
    while (affords(budget)) {
      budget = spend(budget);
      spentAt.push(atMs);
    }
  }
  return spentAt;
}

const most = (spentAt: readonly number[]): number =>
  Math.max(0, ...spentAt.map((from) => spentAt.filter((at) => at >= from && at < from + DAY_MS).length));

const anyLooks = (factor: fc.Arbitrary<number>) =>
  fc
    .array(
      fc.record({ waitMs: fc.oneof(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 0, max: DAY_MS })), factor }),
      {
        maxLength: 60,
      },
    )
    .map((steps) => {
      let atMs = 1_700_000_000_000;
      return steps.map(({ waitMs, factor: each }) => ({ atMs: (atMs += waitMs), factor: each }));
    });

describe('the budget', () => {
  it('when it is spent as soon as it can be, no 24 hours see more than a day allows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 40 }), anyLooks(fc.constant(1)), (perDay, looks) => {
        expect(most(greedy(perDay, looks))).toBeLessThanOrEqual(perDay);
      }),
      { numRuns: 300 },
    );
  });

  it('when an alarm comes and goes, no 24 hours see more than its factor allows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
        anyLooks(fc.constant(1)),
        (perDay, factor, alarms, looks) => {
          const withAlarms = looks.map(({ atMs }, index) => ({ atMs, factor: alarms[index] === true ? factor : 1 }));
          expect(most(greedy(perDay, withAlarms))).toBeLessThanOrEqual(perDay * factor);
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([1, 2, 3, 4, 7, 20, 100])('when it is asked all the time, it gives nearly all of %i a day', (perDay) => {
    const looks = Array.from({ length: 10 * 24 * 60 }, (_, minute) => ({ atMs: minute * 60_000, factor: 1 }));
    const given = greedy(perDay, looks).length;
    expect(given).toBeGreaterThanOrEqual(10 * Math.max(1, perDay * 0.74));
    expect(given).toBeLessThanOrEqual(10 * perDay);
  });

  it('when the clock was set back, nothing is earned until it goes on', () => {
    const empty = { credit: 0, atMs: DAY_MS };
    const back = accrue(empty, { perDay: 10, factor: 1 }, 0);
    expect(back).toEqual({ credit: 0, atMs: 0 });
    expect(affords(accrue(back, { perDay: 10, factor: 1 }, DAY_MS))).toBe(true);
  });

  it('when a day allows less than before, what had been earned is cut', () => {
    const full = accrue(undefined, { perDay: 100, factor: 1 }, 0);
    expect(accrue(full, { perDay: 4, factor: 1 }, 0).credit).toBe(DAY_MS);
    expect(affords(accrue(full, { perDay: 0, factor: 1 }, 0))).toBe(false);
  });
});
