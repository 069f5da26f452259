import type { Probation } from '@drover/shared/protocol';
import { UpdateError } from './errors.js';
import type { ServingHealth } from './ports.js';

export type ProbationVerdict =
  | { readonly kind: 'healthy'; readonly reason: string }
  | { readonly kind: 'unhealthy'; readonly error: UpdateError }
  /** `nextLookMs`: how long nothing can be decided by time alone. */
  | { readonly kind: 'undecided'; readonly nextLookMs: number };

/** Health is looked at at least this often: a crash must not wait for the end of probation. */
const LOOK_EVERY_MS = 100;

/**
 * Judges a candidate by what it did since its activation (docs/protocol.md, section 4: probation).
 *
 * The failure share is that of max(requests, minRequests): until enough requests were served, the missing ones count as successes, so that
 * one early failure does not decide, and a failure is final as soon as no success can mend it.
 */
export function judgeProbation(bounds: Probation, health: ServingHealth, elapsedMs: number): ProbationVerdict {
  const { requests, failures, crashes } = health;
  const isOverdue = elapsedMs >= bounds.maxMs;
  if (crashes >= bounds.maxCrashes) {
    return unhealthy(
      'PROBATION_CRASHED',
      `The inference process crashed ${crashes} times (bound: ${bounds.maxCrashes}).`,
    );
  }
  const judged = Math.max(1, isOverdue ? requests : Math.max(requests, bounds.minRequests));
  if (failures / judged > bounds.maxFailureShare) {
    return unhealthy(
      'PROBATION_FAILURES',
      `${failures} of ${requests} requests failed; allowed is a share of ${bounds.maxFailureShare}.`,
    );
  }
  if (isOverdue) return { kind: 'healthy', reason: `healthy to the end of probation with ${requests} requests` };
  if (elapsedMs >= bounds.minMs && requests >= bounds.minRequests) {
    return {
      kind: 'healthy',
      reason: `healthy for ${Math.round(elapsedMs)} ms and ${requests} requests, ${failures} failed`,
    };
  }
  const untilMs = elapsedMs < bounds.minMs ? bounds.minMs : bounds.maxMs;
  return { kind: 'undecided', nextLookMs: Math.min(LOOK_EVERY_MS, Math.max(1, untilMs - elapsedMs)) };
}

function unhealthy(code: 'PROBATION_CRASHED' | 'PROBATION_FAILURES', what: string): ProbationVerdict {
  return {
    kind: 'unhealthy',
    error: new UpdateError(code, what, {
      remedy:
        'The device went back to its last release by itself. Look at the failing requests, mend the model and publish a new release.',
    }),
  };
}
