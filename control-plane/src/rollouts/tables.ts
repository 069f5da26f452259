import type { DeploymentId, DeviceId, Digest, ModelName, RolloutId, Version } from '@drover/shared/ids';
import type { Generated } from 'kysely';
import type { RolloutDeviceState, RolloutState } from './states.js';
import type { VerdictName } from '@drover/shared/statistics';

export interface RolloutTable {
  readonly id: RolloutId;
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  /** JSON of the RolloutRequest as it was accepted. */
  readonly request: string;
  readonly state: RolloutState;
  /** Why it is in this state, in plain English. */
  readonly reason: string;
  /** Index into the request's stages. */
  readonly stage: number;
  /** The revert that an operator or a failed verdict asked for; carried out while the state is `halted`. */
  readonly revert_wanted: 0 | 1;
  readonly created_at: number;
  readonly created_by: string;
  readonly updated_at: number;
}

export interface RolloutDeviceTable {
  readonly rollout_id: RolloutId;
  readonly device_id: DeviceId;
  /** Place in the seeded order: a stage of n devices takes positions 0 to n − 1. */
  readonly position: number;
  readonly stratum: string;
  readonly state: RolloutDeviceState;
  readonly reason: string;
  /** What the device ran, by its signed report, when it was ordered: where a revert goes. */
  readonly previous_version: Version | null;
  readonly previous_digest: Digest | null;
  /** The newest order of this rollout to the device, for telling which outcome counts. */
  readonly deployment_id: DeploymentId | null;
  readonly revert_deployment_id: DeploymentId | null;
  /** Row of `reports` that was newest when the order went out: what is after it is not baseline. */
  readonly ordered_after_report: number | null;
  readonly updated_at: number;
}

/** One row for each time that a stage was begun (again after a resume). */
export interface RolloutStageTable {
  readonly id: Generated<number>;
  readonly rollout_id: RolloutId;
  readonly stage: number;
  readonly started_at: number;
  /** Row of `reports` that was newest when the stage began: evidence comes from later ones. */
  readonly started_after_report: number;
  /** JSON of a ComparisonPlan: who is compared with whom and with which baselines, fixed when the stage began. */
  readonly plan: string;
  /** JSON of the newest StageEvidence, from which its verdict can be computed again. */
  readonly evidence: string | null;
  readonly verdict: VerdictName | null;
  readonly decided_at: number | null;
}

/** What happened and why, in plain English, for `watch` and `explain`. */
export interface RolloutEventTable {
  readonly id: Generated<number>;
  readonly rollout_id: RolloutId;
  readonly at: number;
  readonly kind: string;
  readonly message: string;
  /** JSON. */
  readonly detail: string;
}

export interface RolloutTables {
  rollouts: RolloutTable;
  rollout_devices: RolloutDeviceTable;
  rollout_stages: RolloutStageTable;
  rollout_events: RolloutEventTable;
}
