export interface BackoffBounds {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * Capped exponential delays with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that a fleet that
 * lost its server together does not come back together.
 *
 * @param attempt 0 for the first retry
 */
export function backoffMs(
  { firstMs, maxMs }: BackoffBounds,
  attempt: number,
  random: () => number = Math.random,
): number {
  const ceilingMs = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
  // Never quite zero: an immediate retry against a dead server would spin.
  return Math.max(ceilingMs * random(), Math.min(firstMs, ceilingMs) / 10);
}
