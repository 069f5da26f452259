import type { Digest } from '@drover/shared/ids';
import type { VerdictName } from '@drover/shared/statistics';
import {
  beginAccuracy,
  observeAccuracy,
  recomputeAccuracy,
  type AccuracyEvidence,
  type LabelledReport,
} from './accuracy.js';
import type { Comparison } from './comparison.js';
import { judgeFailures, recomputeFailures, type DeviceOutcome, type FailureEvidence } from './device-failures.js';
import type { Gate } from './request.js';

/** What a stage's verdict rests on; stored as JSON, and enough to compute the verdict again bit for bit. */
export interface StageEvidence {
  readonly format: 'drover.stage-evidence/1';
  readonly verdict: VerdictName;
  readonly reason: string;
  readonly failures: FailureEvidence;
  readonly accuracy: AccuracyEvidence;
}

export interface StageFacts {
  readonly candidate: Digest;
  readonly gate: Gate;
  readonly comparison: Comparison;
  /** In the order in which they ended. */
  readonly outcomes: readonly DeviceOutcome[];
  /** Devices of the stage that were ordered and from which no outcome has come. */
  readonly pending: number;
  /** Reports since the evidence was last brought up to date (older ones are passed over), in the order of arrival. */
  readonly reports: readonly LabelledReport[];
}

/** Facts to verdict; pure. `before` is the evidence so far, absent when the stage begins. */
export function judgeStage(facts: StageFacts, before: StageEvidence | undefined): StageEvidence {
  const begun = before?.accuracy ?? beginAccuracy(facts.candidate, facts.gate, facts.comparison);
  return combine(judgeFailures(facts.gate, facts.outcomes, facts.pending), observeAccuracy(begun, facts.reports));
}

/** The verdict that follows from stored evidence: equal to the stored one, or somebody changed it. */
export const recomputeStage = (stored: StageEvidence): StageEvidence =>
  combine(recomputeFailures(stored.failures), recomputeAccuracy(stored.accuracy));

/** One FAIL fails; one missing answer leaves the whole open; only PASS with PASS passes. Silence is never success. */
function combine(failures: FailureEvidence, accuracy: AccuracyEvidence): StageEvidence {
  const parts = [failures, accuracy];
  const of = (verdict: VerdictName) => parts.filter((part) => part.verdict === verdict);
  const verdict =
    (['FAIL', 'NO_DATA', 'INCONCLUSIVE', 'PASS'] as const).find((name) => of(name).length > 0) ?? 'NO_DATA';
  const reason = of(verdict)
    .map((part) => part.reason)
    .join(' ');
  return { format: 'drover.stage-evidence/1', verdict, reason, failures, accuracy };
}
