import { Type, type Static } from 'typebox';
import { StatisticsError } from './errors.js';

/**
 * Largest share of the capital at stake in one bet. 1 would allow ruin, from which no evidence recovers; ½ and ¾ are common. With .9 the least
 * possible observation costs a factor of ten, and steady small differences of narrow spread, the usual case in a canary, are found faster.
 */
const MAX_STAKE = 0.9;

/** All that the test remembers: plain JSON, so that it survives a restart and can be audited. */
export const MeanTestState = Type.Object(
  {
    /** Bounds of every observation. */
    lower: Type.Number(),
    upper: Type.Number(),
    nullMean: Type.Number(),
    /** `greater`: H₀ "mean ≤ nullMean" against larger means; `less`: H₀ "mean ≥ nullMean" against smaller ones. */
    direction: Type.Union([Type.Literal('greater'), Type.Literal('less')]),
    count: Type.Integer({ minimum: 0 }),
    /** Running mean of the observations, scaled to [0, 1] and pointing in the direction of the alternative; shrunk to ½ by one virtual observation. */
    mean: Type.Number({ minimum: 0, maximum: 1 }),
    /** Sum of squared deviations from the running means, plus the prior ¼. */
    squares: Type.Number({ minimum: 0 }),
    logCapital: Type.Number(),
    maxLogCapital: Type.Number({ minimum: 0 }),
  },
  { additionalProperties: false },
);
export type MeanTestState = Static<typeof MeanTestState>;

export interface MeanTestOptions {
  readonly lower: number;
  readonly upper: number;
  readonly nullMean: number;
  readonly direction: 'greater' | 'less';
}

/**
 * Anytime-valid test of the mean of bounded observations by betting: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by
 * betting" (JRSS-B 2024; arXiv 2010.09686), the one-sided capital process with approximate GRAPA bets (their section B.3), predictable plug-in
 * mean and variance, truncated at MAX_STAKE. While H₀ holds (each observation's mean, given the past, on its side of nullMean), the capital
 * exceeds 1/α *ever* with probability α at most (Ville), whenever and however often one looks, whatever the distribution.
 *
 * @throws StatisticsError STATISTICS_ARGUMENT unless lower < nullMean < upper, all finite
 */
export function meanTest({ lower, upper, nullMean, direction }: MeanTestOptions): MeanTestState {
  if (!(Number.isFinite(lower) && Number.isFinite(upper) && lower < nullMean && nullMean < upper)) {
    throw new StatisticsError(
      'STATISTICS_ARGUMENT',
      `A mean of ${nullMean} cannot be tested between ${lower} and ${upper}.`,
      {
        remedy: 'The mean under test lies strictly between the bounds of the observations.',
      },
    );
  }
  return { lower, upper, nullMean, direction, count: 0, mean: 0.5, squares: 0.25, logCapital: 0, maxLogCapital: 0 };
}

/** The state after one more observation; pure. @throws StatisticsError STATISTICS_ARGUMENT for an observation outside the bounds or NaN */
export function update(state: MeanTestState, observation: number): MeanTestState {
  const { lower, upper, direction } = state;
  if (!(observation >= lower && observation <= upper)) {
    throw new StatisticsError('STATISTICS_ARGUMENT', `${observation} lies outside the bounds ${lower} to ${upper}.`, {
      remedy: 'The error rates hold for bounded observations only: mend the source, do not clip.',
    });
  }
  const toward = (x: number): number => (direction === 'greater' ? x - lower : upper - x) / (upper - lower);
  const scaled = toward(observation);
  const nullScaled = toward(state.nullMean);
  const logCapital = state.logCapital + Math.log1p(nextBet(state, nullScaled) * (scaled - nullScaled));
  const count = state.count + 1;
  const mean = state.mean + (scaled - state.mean) / (count + 1);
  return {
    ...state,
    count,
    mean,
    squares: state.squares + (scaled - mean) ** 2,
    logCapital,
    maxLogCapital: Math.max(state.maxLogCapital, logCapital),
  };
}

/** Depends on the past alone ("predictable"): the validity of the test rests on it. */
function nextBet({ mean, squares, count }: MeanTestState, nullScaled: number): number {
  const edge = mean - nullScaled;
  const bet = edge / (squares / (count + 1) + edge * edge);
  return Math.min(Math.max(bet, 0), MAX_STAKE / nullScaled);
}

/** Evidence against H₀ now: its mean is at most 1 while H₀ holds. Infinity beyond 1.8e308; `state.logCapital` has it. */
export const eValue = (state: MeanTestState): number => Math.exp(state.logCapital);

/** H₀ was rejected at level α at some time up to now. */
export const isRejected = (state: MeanTestState, alpha: number): boolean => state.maxLogCapital >= -Math.log(alpha);
