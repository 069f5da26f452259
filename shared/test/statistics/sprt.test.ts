import { describe, expect, it } from 'vitest';
import { judgeProportion, observeUnit, proportionSprt, type ProportionSprtState } from '../../src/statistics/index.js';

const design = { p0: 0.05, p1: 0.15, alpha: 0.05, beta: 0.1 };

/** Probabilities of the verdicts and the mean number of units at a true failure share, exactly: all paths, merged by (trials, failures). */
function exactCharacteristics(share: number) {
  let open = new Map<number, { state: ProportionSprtState; mass: number }>([
    [0, { state: proportionSprt(design), mass: 1 }],
  ]);
  const ended = { PASS: 0, FAIL: 0, units: 0 };
  for (let trials = 1; trials <= 1500; trials++) {
    const next = new Map<number, { state: ProportionSprtState; mass: number }>();
    for (const { state, mass } of open.values()) {
      for (const failed of [false, true]) {
        const reached = observeUnit(state, failed);
        const reachedMass = mass * (failed ? share : 1 - share);
        if (reached.decision) {
          ended[reached.decision.verdict] += reachedMass;
          ended.units += reachedMass * trials;
        } else {
          const merged = (next.get(reached.failures)?.mass ?? 0) + reachedMass;
          next.set(reached.failures, { state: reached, mass: merged });
        }
      }
    }
    open = next;
  }
  return ended;
}

describe('when devices of a rollout succeed or fail one by one', () => {
  it('needs 41.8 and 39.3 devices on average to tell 5 % from 15 % (published figures, exact)', () => {
    expect(exactCharacteristics(0.05).units).toBeCloseTo(41.8, 1);
    expect(exactCharacteristics(0.15).units).toBeCloseTo(39.3, 1);
  });

  it('keeps its error rates, exactly', () => {
    expect(exactCharacteristics(0.05).FAIL).toBeLessThanOrEqual(0.05);
    expect(exactCharacteristics(0.15).PASS).toBeLessThanOrEqual(0.1);
  });

  it('says NO_DATA, then INCONCLUSIVE, then FAIL, and stays there', () => {
    let state = proportionSprt(design);
    expect(judgeProportion(state).verdict).toBe('NO_DATA');
    state = observeUnit(state, true);
    expect(judgeProportion(state).verdict).toBe('INCONCLUSIVE');
    while (!state.decision) state = observeUnit(state, true);
    const { trials } = state.decision;
    for (let unit = 0; unit < 200; unit++) state = observeUnit(state, false);
    expect(judgeProportion(state).verdict).toBe('FAIL');
    expect(state).toMatchObject({ trials: trials + 200, decision: { verdict: 'FAIL', trials } });
  });

  it('refuses shares that cannot be told apart', () => {
    expect(() => proportionSprt({ ...design, p1: 0.05 })).toThrow(/cannot be told apart/);
    expect(() => proportionSprt({ ...design, beta: 0.7 })).toThrow(/Error rates/);
  });
});
