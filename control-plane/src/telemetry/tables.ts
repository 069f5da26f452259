import type { DeploymentId, DeviceId, Digest, ModelName, Version } from '@drover/shared/ids';
import type { ReportKind, UpdateState } from '@drover/shared/protocol';
import type { Generated } from 'kysely';
import type { Outcome } from '../director/tables.js';

/** Verified reports; old ones are pruned per kind (retention.ts). `id` grows in the order of arrival. */
export interface ReportTable {
  readonly id: Generated<number>;
  readonly device_id: DeviceId;
  readonly sequence: number;
  /** SHA-256 of the envelope in hex: tells a repeated delivery from a device whose numbering began anew. */
  readonly envelope_hash: string;
  readonly kind: ReportKind;
  /** By the device's clock, which may be wrong. */
  readonly at: number;
  readonly received_at: number;
  /** JSON. */
  readonly body: string;
}

/** Up to where a device's reports were pruned: what lies below was counted once already. */
export interface ReportFloorTable {
  readonly device_id: DeviceId;
  readonly sequence: number;
  readonly at: number;
}

/** The newest signed `state` report of a device, without its models. */
export interface DeviceStateTable {
  readonly device_id: DeviceId;
  readonly sequence: number;
  readonly at: number;
  readonly received_at: number;
  readonly agent_version: string;
  readonly hardware_class: string;
  /** JSON. */
  readonly attributes: string;
  /** JSON of a RepositoryStanding; null from agents that are too old to say it. */
  readonly repository: string | null;
  /** Why it calls itself stale. */
  readonly stale_code: string | null;
  /** JSON array of kinds of releases; null where the agent does not say. */
  readonly takes: string | null;
}

/** What a device says, signed, about one model. */
export interface DeviceModelTable {
  readonly device_id: DeviceId;
  readonly model: ModelName;
  readonly running_version: Version | null;
  readonly running_digest: Digest | null;
  /** JSON of a RunningModel. */
  readonly running: string | null;
  readonly update_state: UpdateState;
  readonly update_deployment_id: DeploymentId | null;
  readonly accepted_epoch: number | null;
  readonly accepted_counter: number | null;
  readonly outcome: Outcome | null;
  readonly outcome_deployment_id: DeploymentId | null;
  readonly outcome_digest: Digest | null;
  /** JSON of a coded error. */
  readonly outcome_error: string | null;
  readonly received_at: number;
}

/** Counts of one reporting window of one device, split by the release that served. */
export interface ServingCountTable {
  /** Row of `reports` that these counts came with. */
  readonly report_id: number;
  readonly device_id: DeviceId;
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  readonly window_ms: number;
  readonly received_at: number;
  readonly requests: number;
  readonly failures: number;
  readonly labelled: number;
  readonly correct: number;
  /** Of values with a known truth: how many there are, and sums of what they were too large by, of its magnitude, and of its square. */
  readonly error_count: number;
  readonly error_sum: number;
  readonly error_absolute: number;
  readonly error_squared: number;
}

/** What a device said of one hour in which inputs were held against a contract: sums, of which the report with most rows counts. */
export interface InputHourTable {
  readonly device_id: DeviceId;
  readonly digest: Digest;
  /** Empty for the release itself. */
  readonly adaptation: Digest | '';
  /** Since 1970, by the clock of the device. */
  readonly hour: number;
  readonly model: ModelName;
  readonly version: Version;
  readonly rows: number;
  readonly refused_requests: number;
  readonly received_at: number;
}

/** The same of one rule that was broken in this hour, or judged by a window. */
export interface InputViolationTable {
  readonly device_id: DeviceId;
  readonly digest: Digest;
  readonly adaptation: Digest | '';
  /** Its place among all rules of the contract. */
  readonly rule: number;
  readonly hour: number;
  readonly model: ModelName;
  readonly input: string;
  /** Empty for every value of the input. */
  readonly feature: string;
  readonly says: string;
  readonly rows: number;
  readonly windows: number;
  readonly windows_below: number;
  /** Of the newest window; null without one. */
  readonly is_below: 0 | 1 | null;
  readonly received_at: number;
}

/** How many documents of a device were refused, by code: kept as a count, because whoever sends bad ones can send many. */
export interface ReportRefusalTable {
  readonly device_id: DeviceId;
  readonly code: string;
  readonly count: number;
  readonly last_at: number;
}

export interface TelemetryTables {
  reports: ReportTable;
  report_floors: ReportFloorTable;
  device_states: DeviceStateTable;
  device_models: DeviceModelTable;
  serving_counts: ServingCountTable;
  input_hours: InputHourTable;
  input_violations: InputViolationTable;
  report_refusals: ReportRefusalTable;
}
