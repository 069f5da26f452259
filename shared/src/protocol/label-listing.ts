import { Type, type Static } from 'typebox';
import { UUID_PATTERN, type LabelRequestId } from '../ids/index.js';
import { atMs, count, modelName, text, version } from './vocabulary.js';

export const labelRequestId = Type.Unsafe<LabelRequestId>(Type.String({ pattern: UUID_PATTERN }));

/** Requests that a report names at most; what is beyond waits until others are over. */
export const MAX_LISTED_LABELS = 200;

/** One row that a device would like labelled (docs/protocol.md, section 9). Times are by the clock of the device. */
export const ListedLabelRequest = Type.Object({
  id: labelRequestId,
  model: modelName,
  /** Of the release that served the row. */
  version,
  /** Of the inference, as its application named it; absent where that is too long to be sent. */
  requestId: Type.Optional(text(200)),
  row: count,
  /** `random` or `targeted`; a newer agent may know more. */
  reason: text(32),
  requestedAt: atMs,
  servedAt: atMs,
  expiresAt: atMs,
  /** Class index. */
  prediction: count,
  /** Of that class; absent where it was no number. */
  confidence: Type.Optional(Type.Number()),
  /** Only from devices that are configured to send them (labels.sendFeatures); null is what JSON has no number for. */
  features: Type.Optional(Type.Array(Type.Union([Type.Number(), Type.Null()]), { maxItems: 4_096 })),
});
export type ListedLabelRequest = Static<typeof ListedLabelRequest>;

/** What a device would like labelled, when that has changed. */
export const LabelListing = Type.Object({
  /** All that wait, oldest first: what is not here is over. */
  open: Type.Array(labelRequestId, { maxItems: MAX_LISTED_LABELS }),
  /** Those of them that were not described since the last full listing, as many as a report has room for. */
  described: Type.Array(ListedLabelRequest, { maxItems: MAX_LISTED_LABELS }),
});
export type LabelListing = Static<typeof LabelListing>;
