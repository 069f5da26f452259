import type { DeploymentId, DeviceId, Digest, ModelName, RolloutId, TrialId, Version } from '@drover/shared/ids';

/** How the last attempt at an order ended, by the device's own signed word. */
export type Outcome = 'committed' | 'fell-back' | 'refused';

/** Every order ever signed, one row each. The one with the highest counter is the desired state of its device and model. */
export interface OrderTable {
  readonly deployment_id: DeploymentId;
  readonly device_id: DeviceId;
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  readonly epoch: number;
  readonly counter: number;
  readonly issued_at: number;
  readonly expires_at: number;
  readonly rollout_id: RolloutId | null;
  /** JSON of a Probation. */
  readonly probation: string;
  /** JSON of a DowngradeGrant. */
  readonly downgrade: string | null;
  /** JSON of TrialTerms, of an order for a trial. */
  readonly trial: string | null;
  readonly trial_id: TrialId | null;
  /** The DSSE envelope as it is published: re-sending never signs anew. */
  readonly envelope: string;
  readonly outcome: Outcome | null;
  /** JSON of a coded error. */
  readonly outcome_error: string | null;
  readonly outcome_at: number | null;
}

export interface DirectorTables {
  orders: OrderTable;
}
