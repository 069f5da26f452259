import type { Generated } from 'kysely';
import type { DeviceId, LabelRequestId, ModelName, Version } from '@drover/shared/ids';

/** A row that a device would like labelled, by its signed word, and what it was answered here. `number` grows in the order of arrival. */
export interface LabelRequestTable {
  readonly number: Generated<number>;
  readonly id: LabelRequestId;
  readonly device_id: DeviceId;
  readonly model: ModelName;
  readonly version: Version;
  /** Of the inference; null where the device did not send it. */
  readonly request_id: string | null;
  readonly row: number;
  readonly reason: string;
  /** These two by the clock of the device, which may be wrong. */
  readonly requested_at: number;
  readonly served_at: number;
  /** By the clock of the control plane. */
  readonly expires_at: number;
  /** Class index. */
  readonly prediction: number;
  readonly confidence: number | null;
  /** JSON array; null where the device sends none. */
  readonly features: string | null;
  /** Whether the device listed it the last time. */
  readonly is_open: 0 | 1;
  readonly received_at: number;
  readonly answered_at: number | null;
  readonly answered_by: string | null;
  /** Class index; null while there is no answer, and from somebody who can't tell. */
  readonly label: number | null;
  /** When the answer was last handed to the broker. */
  readonly tried_at: number | null;
  /** What the device says became of the answer. */
  readonly became: string | null;
  readonly became_at: number | null;
}

/** Which report the newest listing of a device came with: an older one that comes late does not replace it. */
export interface LabelListingTable {
  readonly device_id: DeviceId;
  readonly sequence: number;
  readonly at: number;
}

export interface LabelTables {
  label_requests: LabelRequestTable;
  label_listings: LabelListingTable;
}
