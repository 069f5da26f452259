import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MeetingBudget } from '../../../src/serve/trials/meeting-budget.js';

describe('how many requests meet a run that is not urgent', () => {
  it('when each run meets one, at most one in 200 does, and one at the beginning', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), (requests) => {
        const budget = new MeetingBudget();
        let met = 0;
        for (let index = 0; index < requests; index++) {
          const isRun = budget.mayBegin;
          if (isRun) budget.begin(0);
          budget.request();
          if (isRun) {
            met += 1;
            budget.end();
          }
        }
        // The one that is saved, and the one that takes it below zero.
        expect(met).toBeLessThanOrEqual(2 + requests / 200);
      }),
    );
  });

  it('when a run meets many, none begins until two hundred requests for each have met none', () => {
    const budget = new MeetingBudget();
    budget.begin(0);
    for (let index = 0; index < 11; index++) budget.request();
    budget.end();
    for (let index = 0; index < 1_980; index++) {
      expect(budget.mayBegin).toBe(false);
      budget.request();
    }
    for (let index = 0; index < 20; index++) budget.request();
    expect(budget.mayBegin).toBe(true);
  });

  it('when requests never meet one, runs are not held back, and nothing is saved up', () => {
    const budget = new MeetingBudget();
    for (let index = 0; index < 100_000; index++) {
      budget.request();
      expect(budget.mayBegin).toBe(true);
      budget.begin(0);
      budget.end();
    }
    budget.begin(3);
    expect(budget.mayBegin).toBe(false);
  });
});
