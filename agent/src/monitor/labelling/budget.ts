const DAY_MS = 86_400_000;

/**
 * A token bucket in whole numbers, so that nothing is lost or won by rounding: a request costs as many units as a day has milliseconds, and each
 * millisecond earns `rate` of them.
 */
export interface Budget {
  readonly credit: number;
  readonly atMs: number;
}

export interface Allowance {
  readonly perDay: number;
  /** So many times as much, while there is reason to. At least 1. */
  readonly factor: number;
}

/**
 * What may be asked for at once after a pause. With the rate below, no window of 24 hours sees more than `perDay`: n requests within less than a
 * day cost n, of which there were at most `burst` at its beginning and fewer than `rate` were earned meanwhile.
 */
const burst = (perDay: number): number => Math.ceil(perDay / 4);
const rate = (perDay: number): number => perDay - burst(perDay) + 1;

/** As of now. A clock that was set back earns nothing; one that leaps ahead earns no more than a pause would. */
export function accrue(budget: Budget | undefined, { perDay, factor }: Allowance, nowMs: number): Budget {
  const full = burst(perDay) * DAY_MS;
  const earned = budget ? Math.max(0, nowMs - budget.atMs) * rate(perDay) * factor : full;
  return { credit: Math.min(full, (budget?.credit ?? 0) + earned), atMs: nowMs };
}

export const affords = ({ credit }: Budget): boolean => credit >= DAY_MS;

export const spend = ({ credit, atMs }: Budget): Budget => ({ credit: credit - DAY_MS, atMs });
