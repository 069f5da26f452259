/** What `drover rollout create` was asked for. */
export interface RolloutOptions {
  readonly selector?: Readonly<Record<string, string>>;
  readonly device?: readonly string[];
  readonly stages: readonly object[];
  readonly judge: 'accuracy' | 'failures';
  readonly soak?: number;
  readonly timeout?: number;
  readonly autoRevert: boolean;
  readonly withoutParameters?: boolean;
}

/**
 * A drop of two points of accuracy is accepted and one of ten is not; one good release in a hundred may be stopped, and one in twenty of the
 * bad ones may pass a stage. Every key can be replaced from a file.
 */
export const DEFAULT_GATE = {
  metric: 'accuracy',
  acceptableDrop: 0.02,
  unacceptableDrop: 0.1,
  alpha: 0.01,
  beta: 0.05,
  minSoakMs: 10 * 60_000,
  timeoutMs: 24 * 3_600_000,
  failureShare: { acceptable: 0.02, unacceptable: 0.2 },
} as const;

export const DEFAULT_PROBATION = {
  minMs: 60_000,
  minRequests: 0,
  maxMs: 30 * 60_000,
  maxFailureShare: 0.1,
  maxCrashes: 3,
} as const;

/** The body of POST /api/v1/rollouts; the control plane checks it. */
export function buildRolloutRequest(
  release: { readonly model: string; readonly version: string },
  { selector, device, stages, judge, soak, timeout, autoRevert, withoutParameters }: RolloutOptions,
  overrides: { readonly gate: unknown; readonly probation: unknown },
): object {
  const conditions = {
    ...(device === undefined ? {} : { devices: device }),
    ...(selector === undefined ? {} : { attributes: selector }),
  };
  return {
    ...release,
    selector: Object.keys(conditions).length === 0 ? { all: true } : conditions,
    stages,
    gate: {
      ...DEFAULT_GATE,
      metric: judge,
      ...(overrides.gate as object),
      ...(soak === undefined ? {} : { minSoakMs: soak }),
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    },
    probation: { ...DEFAULT_PROBATION, ...(overrides.probation as object) },
    autoRevert,
    ...(withoutParameters === undefined ? {} : { withoutParameters }),
  };
}
