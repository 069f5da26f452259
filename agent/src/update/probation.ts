import type { Manifest } from '@drover/shared/manifest';
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

/** What the publisher promised for this hardware class. */
export type Contract = Pick<Manifest['contract']['perHardwareClass'][number], 'maxLatencyMs' | 'maxMemoryMiB'>;

/** Below so many requests the 99th percentile is the slowest one, which one pause of the machine makes. */
const MIN_REQUESTS_FOR_LATENCY = 100;
/** What the runtime and the requests under way take beside the model, which alone the contract is about. */
const RUNTIME_ALLOWANCE_MIB = 128;

/**
 * Judges a candidate by what it did since its activation (docs/protocol.md, section 4: probation).
 *
 * The failure share is that of max(requests, minRequests): until enough requests were served, the missing ones count as successes, so that
 * one early failure does not decide, and a failure is final as soon as no success can mend it.
 */
export function judgeProbation(
  bounds: Probation,
  health: ServingHealth,
  elapsedMs: number,
  contract?: Contract,
): ProbationVerdict {
  const { requests, failures, crashes } = health;
  const isOverdue = elapsedMs >= bounds.maxMs;
  if (crashes >= bounds.maxCrashes) {
    return unhealthy(
      'PROBATION_CRASHED',
      `What runs the model crashed ${crashes} times (bound: ${bounds.maxCrashes}).`,
    );
  }
  const judged = Math.max(1, isOverdue ? requests : Math.max(requests, bounds.minRequests));
  if (failures / judged > bounds.maxFailureShare) {
    return unhealthy(
      'PROBATION_FAILURES',
      `${failures} of ${requests} requests failed; allowed is a share of ${bounds.maxFailureShare}.`,
    );
  }
  const broken = contract && brokenContract(contract, health);
  if (broken) return broken;
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

function brokenContract(
  contract: Contract,
  { requests, latencyP99Us, memoryMiB }: ServingHealth,
): ProbationVerdict | undefined {
  if (
    latencyP99Us !== undefined &&
    requests >= MIN_REQUESTS_FOR_LATENCY &&
    latencyP99Us > contract.maxLatencyMs * 1_000
  ) {
    return unhealthy(
      'PROBATION_SLOW',
      `One in a hundred requests took ${(latencyP99Us / 1_000).toFixed(1)} ms or more; the contract allows ${contract.maxLatencyMs} ms.`,
    );
  }
  if (memoryMiB !== undefined && memoryMiB > contract.maxMemoryMiB + RUNTIME_ALLOWANCE_MIB) {
    return unhealthy(
      'PROBATION_MEMORY',
      `The inference process grew by ${Math.round(memoryMiB)} MiB; the contract allows ${contract.maxMemoryMiB} MiB and ${RUNTIME_ALLOWANCE_MIB} MiB for the runtime.`,
    );
  }
  return undefined;
}

type UnhealthyCode = 'PROBATION_CRASHED' | 'PROBATION_FAILURES' | 'PROBATION_SLOW' | 'PROBATION_MEMORY';

function unhealthy(code: UnhealthyCode, what: string): ProbationVerdict {
  return {
    kind: 'unhealthy',
    error: new UpdateError(code, what, {
      remedy:
        'The device went back to its last release by itself. Look at the failing requests, mend the model and publish a new release.',
    }),
  };
}
