import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MeetingBudget } from '../../../src/serve/trials/meeting-budget.js';

describe('how many requests meet a run that is not urgent', () => {
  const request = (budget: MeetingBudget): void => {
    budget.requestBegins();
    budget.requestEnds();
  };

  it('when each run meets one, at most one in 1,000 does, and one at the beginning', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), (requests) => {
        const budget = new MeetingBudget();
        let met = 0;
        for (let index = 0; index < requests; index++) {
          const isRun = budget.begin();
          request(budget);
          if (isRun) {
            met += 1;
            budget.end();
          }
        }
        // The one that is saved, and the one that takes it below zero.
        expect(met).toBeLessThanOrEqual(2 + requests / 1_000);
      }),
    );
  });

  it('when a run meets many, none begins until a thousand requests for each have met none', () => {
    const budget = new MeetingBudget();
    budget.begin();
    for (let index = 0; index < 11; index++) request(budget);
    budget.end();
    for (let index = 0; index < 9_980; index++) {
      expect(budget.mayBegin()).toBe(false);
      request(budget);
    }
    for (let index = 0; index < 20; index++) request(budget);
    expect(budget.mayBegin()).toBe(true);
  });

  it('when requests never meet one, runs are not held back, and nothing is saved up', () => {
    const budget = new MeetingBudget();
    for (let index = 0; index < 100_000; index++) {
      request(budget);
      expect(budget.begin()).toBe(true);
      budget.end();
    }
    for (let index = 0; index < 3; index++) budget.requestBegins();
    budget.begin();
    budget.end();
    expect(budget.mayBegin()).toBe(false);
  });

  it('when requests and runs come from several threads, one run is under way at a time, and every request that it meets counts', () => {
    const here = new MeetingBudget();
    const there = new MeetingBudget(here.shared);
    there.requestBegins();
    expect(here.begin()).toBe(true);
    expect(there.begin()).toBe(false);
    request(there);
    there.requestEnds();
    here.end();
    // One that was under way and one that came: of both, one is saved and one owed.
    for (let index = 0; index < 999; index++) {
      expect(there.begin()).toBe(false);
      request(here);
    }
    request(here);
    expect(there.begin()).toBe(true);
  });
});
