import type { DeviceId, Digest, ModelName, TrialId, Version } from '@drover/shared/ids';

export interface TrialTable {
  readonly id: TrialId;
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  /** JSON of the TrialRequest as it was accepted. */
  readonly request: string;
  readonly until: number;
  readonly created_at: number;
  readonly created_by: string;
  /** Null unless somebody ended it before its time. */
  readonly ended_at: number | null;
  readonly ended_by: string | null;
}

export interface TrialDeviceTable {
  readonly trial_id: TrialId;
  readonly device_id: DeviceId;
}

/** What a device counted in one reporting window of one pair of releases. */
export interface TrialComparisonTable {
  /** Row of `reports` that the counts came with. */
  readonly report_id: number;
  readonly device_id: DeviceId;
  readonly model: ModelName;
  /** Of the release that was tried. */
  readonly candidate: Digest;
  readonly received_at: number;
  /** JSON of ComparisonCounts. */
  readonly counts: string;
}

export interface TrialTables {
  trials: TrialTable;
  trial_devices: TrialDeviceTable;
  trial_comparisons: TrialComparisonTable;
}
