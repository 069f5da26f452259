import { StatisticsError } from './errors.js';

/** ln n! − Stirling's ln(√(2πn) (n/e)^n) for n = 0 … 15; above, the asymptotic series (Loader 2000, as in R's `stirlerr`). */
const STIRLING_ERRORS = [
  0, 0.0810614667953273, 0.0413406959554093, 0.0276779256849983, 0.020790672103765, 0.0166446911898212,
  0.0138761288230707, 0.0118967099458917, 0.0104112652619721, 0.0092554621827127, 0.0083305634333629,
  0.0075736754879518, 0.0069428401072095, 0.006408994188004, 0.0059513701127589, 0.0055547335519628,
] as const;

function stirlingError(n: number): number {
  const tabulated = STIRLING_ERRORS[n];
  if (tabulated !== undefined) return tabulated;
  const square = n * n;
  return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / square) / square) / square) / n;
}

/** x ln(x/m) + m − x without cancellation near x = m (Loader's bd0). */
function deviance(x: number, m: number): number {
  if (Math.abs(x - m) >= 0.1 * (x + m)) return x * Math.log(x / m) + m - x;
  const ratio = (x - m) / (x + m);
  let sum = (x - m) * ratio;
  let term = 2 * x * ratio;
  for (let index = 1; ; index++) {
    term *= ratio * ratio;
    const next = sum + term / (2 * index + 1);
    if (next === sum) return sum;
    sum = next;
  }
}

/**
 * P(X = k) of a binomial: Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000), the saddle-point form, which keeps full
 * relative accuracy where differences of log-gammas lose it.
 */
export function binomialProbability(k: number, n: number, p: number): number {
  requireBinomial(k, n, p);
  return probability(k, n, p, 1 - p);
}

/** `q` is 1 − p, passed along because 1 − (1 − p) would lose the digits of a small p. */
function probability(k: number, n: number, p: number, q: number): number {
  if (p === 0) return k === 0 ? 1 : 0;
  if (q === 0) return k === n ? 1 : 0;
  if (k === 0) return Math.exp(n * (p < 0.5 ? Math.log1p(-p) : Math.log(q)));
  if (k === n) return Math.exp(n * (q < 0.5 ? Math.log1p(-q) : Math.log(p)));
  const exponent =
    stirlingError(n) - stirlingError(k) - stirlingError(n - k) - deviance(k, n * p) - deviance(n - k, n * q);
  return Math.exp(exponent) * Math.sqrt(n / (2 * Math.PI * k * (n - k)));
}

/** P(X ≥ k), exact. Same as `scipy.stats.binom.sf(k - 1, n, p)`. */
export function binomialUpperTail(k: number, n: number, p: number): number {
  requireBinomial(k, n, p);
  return upperTail(k, n, p, 1 - p);
}

/** P(X ≤ k), exact. Same as `scipy.stats.binom.cdf(k, n, p)`. */
export function binomialLowerTail(k: number, n: number, p: number): number {
  requireBinomial(k, n, p);
  return upperTail(n - k, n, 1 - p, p);
}

function upperTail(k: number, n: number, p: number, q: number): number {
  if (k === 0) return 1;
  // Sum the side that holds less, so that tiny tails keep their relative accuracy.
  return k > n * p ? sumUpwards(k, n, p, q) : 1 - sumUpwards(n - k + 1, n, q, p);
}

/** From k upwards each term follows from its predecessor; beyond the mean they only shrink. */
function sumUpwards(k: number, n: number, p: number, q: number): number {
  let term = probability(k, n, p, q);
  let sum = term;
  for (let at = k; at < n && term > sum * Number.EPSILON * 0.01; at++) {
    term *= ((n - at) / (at + 1)) * (p / q);
    sum += term;
  }
  return Math.min(1, sum);
}

/**
 * Exact two-sided confidence interval of a share (Clopper & Pearson 1934). For a one-sided bound at level 1 − α take `confidence` 1 − 2α.
 * Same as `scipy.stats.binomtest(successes, trials).proportion_ci(confidence, 'exact')`.
 */
export function clopperPearson({
  successes,
  trials,
  confidence,
}: {
  readonly successes: number;
  readonly trials: number;
  readonly confidence: number;
}): { readonly lower: number; readonly upper: number } {
  requireBinomial(successes, trials, 0.5);
  if (!(confidence > 0 && confidence < 1)) throw invalid(`a confidence of ${confidence}`);
  const tail = (1 - confidence) / 2;
  const lower = successes === 0 ? 0 : bisect((p) => binomialUpperTail(successes, trials, p) < tail);
  const upper = successes === trials ? 1 : bisect((p) => binomialLowerTail(successes, trials, p) > tail);
  return { lower, upper };
}

/** The share in [0, 1] where `isBelow` turns from true to false, to the last bit. */
function bisect(isBelow: (p: number) => boolean): number {
  let low = 0;
  let high = 1;
  for (;;) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) return middle;
    if (isBelow(middle)) low = middle;
    else high = middle;
  }
}

/**
 * Exact one-sided sign test: probability of at least `wins` out of `wins + losses` when either is as likely. Ties are left out beforehand.
 * 1 without observations.
 */
export function signTest({ wins, losses }: { readonly wins: number; readonly losses: number }): number {
  return binomialUpperTail(wins, wins + losses, 0.5);
}

/**
 * Exact one-sided McNemar test on the same rows judged by two models: is the candidate better? Only the rows where exactly one is right count
 * (McNemar 1947, exact form: the sign test on the discordant pairs).
 */
export function mcNemarTest(discordant: {
  readonly onlyCandidateRight: number;
  readonly onlyBaselineRight: number;
}): number {
  return signTest({ wins: discordant.onlyCandidateRight, losses: discordant.onlyBaselineRight });
}

function requireBinomial(k: number, n: number, p: number): void {
  const valid = Number.isSafeInteger(k) && Number.isSafeInteger(n) && k >= 0 && k <= n && p >= 0 && p <= 1;
  if (!valid) throw invalid(`${k} of ${n} at a share of ${p}`);
}

function invalid(what: string): StatisticsError {
  return new StatisticsError('STATISTICS_ARGUMENT', `A binomial probability is not defined for ${what}.`, {
    remedy: 'Give whole numbers 0 ≤ k ≤ n and shares within [0, 1].',
  });
}
