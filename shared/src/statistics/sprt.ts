import { Type, type Static } from 'typebox';
import { StatisticsError } from './errors.js';
import { requireRates, type Verdict } from './sequential.js';

const share = Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 });
const rate = Type.Number({ exclusiveMinimum: 0, maximum: 0.5 });
const count = Type.Integer({ minimum: 0 });

/** Plain JSON. */
export const ProportionSprtState = Type.Object(
  {
    test: Type.Literal('proportion-sprt'),
    /** Share of failing units that is acceptable, and the share that must be caught. */
    p0: share,
    p1: share,
    /** Wald's nominal error rates of FAIL at p0 and of PASS at p1. */
    alpha: rate,
    beta: rate,
    trials: count,
    failures: count,
    /** The first crossing, which ends the test. */
    decision: Type.Union([
      Type.Null(),
      Type.Object(
        { verdict: Type.Union([Type.Literal('PASS'), Type.Literal('FAIL')]), trials: count, failures: count },
        { additionalProperties: false },
      ),
    ]),
  },
  { additionalProperties: false },
);
export type ProportionSprtState = Static<typeof ProportionSprtState>;

export interface ProportionSprtOptions {
  readonly p0: number;
  readonly p1: number;
  readonly alpha: number;
  readonly beta: number;
}

/**
 * Wald's sequential probability ratio test (Wald 1945, "Sequential Tests of Statistical Hypotheses") for the share of units that fail, with his
 * boundaries (1 − β)/α and β/(1 − α). The errors that they really give add up to α + β at most.
 *
 * @throws StatisticsError STATISTICS_ARGUMENT unless 0 < p0 < p1 < 1 and the rates lie in (0, 0.5]
 */
export function proportionSprt({ p0, p1, alpha, beta }: ProportionSprtOptions): ProportionSprtState {
  requireRates(alpha, beta);
  if (!(0 < p0 && p0 < p1 && p1 < 1)) {
    throw new StatisticsError('STATISTICS_ARGUMENT', `Failure shares of ${p0} and ${p1} cannot be told apart.`, {
      remedy: 'Give 0 < p0 < p1 < 1, for example 0.05 and 0.15.',
    });
  }
  return { test: 'proportion-sprt', p0, p1, alpha, beta, trials: 0, failures: 0, decision: null };
}

/** One more unit. Units after the decision are counted and do not change it. */
export function observeUnit(state: ProportionSprtState, failed: boolean): ProportionSprtState {
  const trials = state.trials + 1;
  const failures = state.failures + (failed ? 1 : 0);
  if (state.decision) return { ...state, trials, failures };
  const { p0, p1, alpha, beta } = state;
  const logRatio = failures * Math.log(p1 / p0) + (trials - failures) * Math.log((1 - p1) / (1 - p0));
  const verdict =
    logRatio >= Math.log((1 - beta) / alpha) ? 'FAIL' : logRatio <= Math.log(beta / (1 - alpha)) ? 'PASS' : undefined;
  return { ...state, trials, failures, decision: verdict ? { verdict, trials, failures } : null };
}

export function judgeProportion(state: ProportionSprtState): Verdict<ProportionSprtState> {
  return { verdict: state.decision?.verdict ?? (state.trials === 0 ? 'NO_DATA' : 'INCONCLUSIVE'), evidence: state };
}
