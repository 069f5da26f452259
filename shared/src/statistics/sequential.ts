import { Type, type Static } from 'typebox';
import { isRejected, meanTest, MeanTestState, update } from './betting.js';
import { StatisticsError } from './errors.js';

/** INCONCLUSIVE and NO_DATA are answers: neither is success. */
export const VerdictName = Type.Union([
  Type.Literal('PASS'),
  Type.Literal('FAIL'),
  Type.Literal('INCONCLUSIVE'),
  Type.Literal('NO_DATA'),
]);
export type VerdictName = Static<typeof VerdictName>;

/** A verdict with the state that it follows from: `judge(evidence)` gives it again. */
export interface Verdict<Evidence> {
  readonly verdict: VerdictName;
  readonly evidence: Evidence;
}

const rate = Type.Number({ exclusiveMinimum: 0, maximum: 0.5 });
const difference = Type.Number({ exclusiveMinimum: -1, exclusiveMaximum: 1 });

/** Plain JSON. Differences are candidate − baseline, in [−1, 1]; negative is worse. */
export const NonInferiorityState = Type.Object(
  {
    test: Type.Literal('non-inferiority-betting'),
    /** A mean difference that a release may have: FAIL rejects "at least this". */
    acceptable: difference,
    /** A mean difference that it must not have: PASS rejects "at most this". */
    unacceptable: difference,
    /** Probability of FAIL, ever, when the mean is acceptable. */
    alpha: rate,
    /** Probability of PASS, ever, when the mean is unacceptable. */
    beta: rate,
    /** Betting against "mean ≥ acceptable". */
    worse: MeanTestState,
    /** Betting against "mean ≤ unacceptable". */
    better: MeanTestState,
  },
  { additionalProperties: false },
);
export type NonInferiorityState = Static<typeof NonInferiorityState>;

export interface NonInferiorityOptions {
  readonly acceptable: number;
  readonly unacceptable: number;
  readonly alpha: number;
  readonly beta: number;
}

/**
 * Is the candidate no worse than the baseline, by a margin? Two e-processes over paired differences of concurrent, matched cohorts. One
 * observation is one report of one unit (device, site) or the mean of a round of them, never one inference: within a unit they depend.
 *
 * @throws StatisticsError STATISTICS_ARGUMENT unless −1 < unacceptable < acceptable < 1 and the rates lie in (0, 0.5]
 */
export function nonInferiority({ acceptable, unacceptable, alpha, beta }: NonInferiorityOptions): NonInferiorityState {
  requireRates(alpha, beta);
  if (!(unacceptable < acceptable)) {
    throw new StatisticsError(
      'STATISTICS_ARGUMENT',
      `The unacceptable difference ${unacceptable} is not below the acceptable one ${acceptable}.`,
      {
        remedy: 'Give for example acceptable −0.05 and unacceptable −0.15.',
      },
    );
  }
  const bounds = { lower: -1, upper: 1 };
  return {
    test: 'non-inferiority-betting',
    acceptable,
    unacceptable,
    alpha,
    beta,
    worse: meanTest({ ...bounds, nullMean: acceptable, direction: 'less' }),
    better: meanTest({ ...bounds, nullMean: unacceptable, direction: 'greater' }),
  };
}

/** @throws StatisticsError STATISTICS_ARGUMENT for a difference outside [−1, 1] */
export function observeDifference(state: NonInferiorityState, observed: number): NonInferiorityState {
  return { ...state, worse: update(state.worse, observed), better: update(state.better, observed) };
}

/**
 * FAIL goes before PASS: between the two margins both hypotheses are false, and safety decides. A rejection stays, and each error rate holds
 * for *ever*, so that one may go on observing and look at any time.
 */
export function judgeNonInferiority(state: NonInferiorityState): Verdict<NonInferiorityState> {
  const { alpha, beta, worse, better } = state;
  const verdict =
    worse.count === 0
      ? 'NO_DATA'
      : isRejected(worse, alpha)
        ? 'FAIL'
        : isRejected(better, beta)
          ? 'PASS'
          : 'INCONCLUSIVE';
  return { verdict, evidence: state };
}

export function requireRates(alpha: number, beta: number): void {
  if (alpha > 0 && alpha <= 0.5 && beta > 0 && beta <= 0.5) return;
  throw new StatisticsError('STATISTICS_ARGUMENT', `Error rates of ${alpha} and ${beta} make no test.`, {
    remedy: 'Give rates in (0, 0.5], for example 0.05 and 0.1.',
  });
}
