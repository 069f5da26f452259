import type { DeviceId } from '@drover/shared/ids';
import { observeUnit, proportionSprt, type ProportionSprtState, type VerdictName } from '@drover/shared/statistics';
import type { Gate } from './request.js';

/** How one device's update under this rollout ended. */
export interface DeviceOutcome {
  readonly device: DeviceId;
  readonly failed: boolean;
}

/** Everything that the verdict follows from; JSON. */
export interface FailureEvidence {
  readonly test: 'device-failures/1';
  readonly gate: Pick<Gate, 'alpha' | 'beta' | 'failureShare'>;
  /** In the order in which they ended, over all stages so far. */
  readonly outcomes: readonly DeviceOutcome[];
  /** Devices of the stage from which no outcome has come. */
  readonly pending: number;
  readonly sprt: ProportionSprtState;
  readonly verdict: VerdictName;
  readonly reason: string;
}

/**
 * The share of devices on which the update fails: Wald's sequential test over devices, across the stages of a rollout. A canary of three can
 * never carry the test to a PASS, so a stage of which *every* device has ended, and no more than the acceptable share failed, passes as a
 * census: for that stage nothing is left to infer, and the sequential test goes on in the next one. Where every
 * single device failed, no evidence for the release can come any more, and waiting for it would be idle: that fails at once. A device that is
 * silent is in neither.
 */
export function judgeFailures(
  gate: FailureEvidence['gate'],
  outcomes: readonly DeviceOutcome[],
  pending: number,
): FailureEvidence {
  const { alpha, beta, failureShare } = gate;
  const sprt = outcomes.reduce(
    (state, { failed }) => observeUnit(state, failed),
    proportionSprt({ p0: failureShare.acceptable, p1: failureShare.unacceptable, alpha, beta }),
  );
  const { trials, failures, decision } = sprt;
  const evidence = { test: 'device-failures/1', gate: { alpha, beta, failureShare }, outcomes, pending, sprt } as const;
  const seen = `${failures} of ${trials} devices failed${pending > 0 ? `, ${pending} have not ended` : ''}`;
  if (trials === 0)
    return { ...evidence, verdict: 'NO_DATA', reason: `No device has ended its update yet (${pending} to come).` };
  if (decision?.verdict === 'FAIL')
    return { ...evidence, verdict: 'FAIL', reason: `Too many devices failed: ${seen}.` };
  if (pending === 0 && failures === trials) {
    return {
      ...evidence,
      verdict: 'FAIL',
      reason: `Every device failed, so nothing can speak for the release: ${seen}.`,
    };
  }
  if (pending === 0 && failures / trials <= failureShare.acceptable) {
    return { ...evidence, verdict: 'PASS', reason: `Every device ended its update: ${seen}.` };
  }
  if (decision?.verdict === 'PASS' && failures / trials < failureShare.unacceptable) {
    return { ...evidence, verdict: 'PASS', reason: `Few enough devices fail: ${seen}.` };
  }
  return { ...evidence, verdict: 'INCONCLUSIVE', reason: `Not enough evidence about failures yet: ${seen}.` };
}

export const recomputeFailures = ({ gate, outcomes, pending }: FailureEvidence): FailureEvidence =>
  judgeFailures(gate, outcomes, pending);
