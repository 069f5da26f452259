import type { Operator } from './operator.js';

export interface RolloutByFailures {
  readonly model: string;
  readonly version: string;
  readonly devices: readonly string[];
  readonly minSoakMs?: number;
  readonly timeoutMs?: number;
  readonly probation?: Readonly<Partial<typeof PROBATION>>;
}

const PROBATION = { minMs: 100, minRequests: 0, maxMs: 5_000, maxFailureShare: 0.5, maxCrashes: 2 };

/** The body of a rollout to all of these devices at once, judged by what fails on them, which halts and does not revert by itself. */
export const rolloutByFailures = ({
  model,
  version,
  devices,
  minSoakMs = 0,
  timeoutMs = 60_000,
  probation = {},
}: RolloutByFailures) => ({
  model,
  version,
  selector: { devices },
  stages: [{ name: 'all', share: 1 }],
  gate: {
    metric: 'failures',
    acceptableDrop: 0.05,
    unacceptableDrop: 0.2,
    alpha: 0.01,
    beta: 0.05,
    minSoakMs,
    timeoutMs,
    failureShare: { acceptable: 0.05, unacceptable: 0.5 },
  },
  probation: { ...PROBATION, ...probation },
  autoRevert: false,
});

export interface ClaimTokenRequest {
  readonly attributes?: Readonly<Record<string, string>>;
  readonly uses?: number;
  /** The one device that may use it. */
  readonly deviceId?: string;
  readonly ttlMs?: number;
}

/** A token that lets devices enrol; one of them, unless told otherwise. */
export async function createClaimToken(
  operator: Pick<Operator, 'send'>,
  { attributes = {}, ttlMs = 3_600_000, ...rest }: ClaimTokenRequest = {},
): Promise<string> {
  const body = { attributes, ttlMs, ...rest };
  return (await operator.send<{ claimToken: string }>('POST', '/api/v1/claim-tokens', body)).claimToken;
}
