import fc from 'fast-check';
import { Value } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import {
  eValue,
  judgeNonInferiority,
  meanTest,
  nonInferiority,
  NonInferiorityState,
  observeDifference,
  seededRandom,
  update,
  type VerdictName,
} from '../../src/statistics/index.js';

const design = { acceptable: -0.05, unacceptable: -0.15, alpha: 0.05, beta: 0.05 };
const RUNS = 2000;
/** Three standard errors of a share of .05 in 2,000 runs. */
const NOISE = 0.015;

/** Looks after every observation and stops at the first verdict: optional stopping at its worst. */
function stopAtFirstVerdict(draw: () => number, most: number): { verdict: VerdictName; observations: number } {
  let state = nonInferiority(design);
  for (let observations = 1; observations <= most; observations++) {
    state = observeDifference(state, draw());
    const { verdict } = judgeNonInferiority(state);
    if (verdict !== 'INCONCLUSIVE') return { verdict, observations };
  }
  return { verdict: 'INCONCLUSIVE', observations: most };
}

function simulate(drawFrom: (seed: number) => () => number, most: number) {
  const results = Array.from({ length: RUNS }, (_, seed) => stopAtFirstVerdict(drawFrom(seed), most));
  const share = (verdict: VerdictName): number => results.filter((each) => each.verdict === verdict).length / RUNS;
  const observations = results.map((each) => each.observations).sort((a, b) => a - b);
  return { share, percentile95: observations[Math.floor(0.95 * RUNS)] ?? 0 };
}

const clip = (x: number): number => Math.max(-1, Math.min(1, x));
const normal = (mean: number, deviation: number) => (seed: number) => {
  const random = seededRandom(seed);
  return () => clip(mean + deviation * random.normal());
};
/** −1, 0 or 1 with the given mean: the widest spread, as of single right-or-wrong pairs. */
const threeValued = (mean: number) => (seed: number) => {
  const random = seededRandom(seed);
  return () => {
    const drawn = random.next();
    return drawn < 0.3 ? 1 : drawn < 0.3 + 0.3 - mean ? -1 : 0;
  };
};

describe('when a release is compared with its baseline after every report', () => {
  it.each([
    ['narrow', normal(design.acceptable, 0.05)],
    ['wide', normal(design.acceptable, 0.3)],
    ['three-valued', threeValued(design.acceptable)],
  ])('fails an acceptable one in at most α of the rollouts (%s differences)', (_, drawFrom) => {
    expect(simulate(drawFrom, 150).share('FAIL')).toBeLessThanOrEqual(design.alpha + NOISE);
  });

  it.each([
    ['narrow', normal(design.unacceptable, 0.05)],
    ['wide', normal(design.unacceptable, 0.3)],
    ['three-valued', threeValued(design.unacceptable)],
  ])('passes an unacceptable one in at most β of the rollouts (%s differences)', (_, drawFrom) => {
    expect(simulate(drawFrom, 150).share('PASS')).toBeLessThanOrEqual(design.beta + NOISE);
  });

  it('passes an equal one, and fails one that is 25 points worse, within 30 reports of spread .05', () => {
    const equal = simulate(normal(0, 0.05), 100);
    const worse = simulate(normal(-0.25, 0.05), 100);
    expect(equal.share('PASS')).toBeGreaterThan(0.99);
    expect(worse.share('FAIL')).toBeGreaterThan(0.99);
    expect(equal.percentile95).toBeLessThanOrEqual(30);
    expect(worse.percentile95).toBeLessThanOrEqual(30);
  });

  it('says NO_DATA before the first report, INCONCLUSIVE after a few', () => {
    const state = nonInferiority(design);
    expect(judgeNonInferiority(state).verdict).toBe('NO_DATA');
    expect(judgeNonInferiority(observeDifference(state, 0)).verdict).toBe('INCONCLUSIVE');
  });

  it('keeps a FAIL whatever comes later', () => {
    let state = nonInferiority(design);
    for (let report = 0; report < 40; report++) state = observeDifference(state, -0.4);
    for (let report = 0; report < 400; report++) state = observeDifference(state, 0.2);
    expect(judgeNonInferiority(state).verdict).toBe('FAIL');
  });

  it('resumes from its JSON at any point to the same state bit for bit, and judges the evidence alike', () => {
    const differences = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(differences, fc.nat(40), (observed, cut) => {
        const whole = observed.reduce(observeDifference, nonInferiority(design));
        const first = observed.slice(0, cut).reduce(observeDifference, nonInferiority(design));
        const stored: unknown = JSON.parse(JSON.stringify(first));
        if (!Value.Check(NonInferiorityState, stored)) throw new Error('the stored state does not follow its schema');
        const resumed = observed.slice(cut).reduce(observeDifference, stored);
        expect(JSON.stringify(resumed)).toBe(JSON.stringify(whole));
        const judged = judgeNonInferiority(whole);
        expect(judgeNonInferiority(judged.evidence)).toEqual(judged);
      }),
    );
  });

  it('refuses differences out of bounds and margins in the wrong order', () => {
    expect(() => observeDifference(nonInferiority(design), 1.01)).toThrow(/outside the bounds/);
    expect(() => observeDifference(nonInferiority(design), Number.NaN)).toThrow(/outside the bounds/);
    expect(() => nonInferiority({ ...design, acceptable: -0.2 })).toThrow(/not below/);
    expect(() => nonInferiority({ ...design, alpha: 0 })).toThrow(/Error rates/);
  });
});

describe('when the mean of bounded observations is tested by betting', () => {
  it('is fair: on the boundary of H₀ the e-value is 1 on average', () => {
    // All 2^10 sequences of a fair coin, exactly: a martingale has mean 1 at any time, whatever the bets.
    let sum = 0;
    for (let sequence = 0; sequence < 1024; sequence++) {
      let state = meanTest({ lower: 0, upper: 1, nullMean: 0.5, direction: 'greater' });
      for (let toss = 0; toss < 10; toss++) state = update(state, (sequence >> toss) & 1);
      sum += eValue(state);
    }
    expect(sum / 1024).toBeCloseTo(1, 12);
  });

  it('is the same test in either direction, mirrored', () => {
    const observations = [0.2, 0.9, 0.7, 0.8, 0.95, 0.6];
    const greater = meanTest({ lower: 0, upper: 1, nullMean: 0.4, direction: 'greater' });
    const less = meanTest({ lower: 0, upper: 1, nullMean: 0.6, direction: 'less' });
    const up = observations.reduce(update, greater);
    const down = observations.map((x) => 1 - x).reduce(update, less);
    expect(down.logCapital).toBeCloseTo(up.logCapital, 12);
    expect(eValue(up)).toBeGreaterThan(1);
  });
});
