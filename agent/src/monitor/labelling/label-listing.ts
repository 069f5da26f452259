import type { Statement } from 'better-sqlite3';
import type { LabelRequestId } from '@drover/shared/ids';
import type { LabelListing, ListedLabelRequest } from '@drover/shared/protocol';
import type { SqliteDatabase } from '../../database/index.js';
import { joinFeatures } from '../feature-bytes.js';
import type { RequestRow } from './label-requests.js';

export interface ListingTerms {
  /** Requests that one listing names at most. Given, since the thread of the store does without the schemas of the protocol: they take 3 MiB. */
  readonly maxOpen: number;
  /** They may be private, and are most of the bytes. */
  readonly sendFeatures: boolean;
  readonly expireAfterMs: number;
  /** What was told before may not have arrived: tell all of it. */
  readonly isAfresh: boolean;
  readonly nowMs: number;
}

/** Of descriptions in one report, so that a queue goes over a metered link in pieces; what has no room comes with the next one. */
const MAX_DESCRIBED_BYTES = 32 * 1024;
/** Features that alone would take more are left out. */
const MAX_FEATURES_BYTES = 16 * 1024;
const MAX_FEATURES = 4_096;
const MAX_REQUEST_ID = 200;
/** Everything is described anew then: a report may have been lost, or the control plane restored from a backup. */
const DESCRIBE_AFRESH_MS = 24 * 3_600_000;

/**
 * What the control plane is told of the requests that wait: their ids whenever these have changed, and each request itself once a day. Remembers in memory
 * what it told, so that a start tells all of it.
 */
export class LabelListings {
  readonly #open: Statement<[{ limit: number }], { id: LabelRequestId }>;
  readonly #described: Statement<[{ id: string }], Omit<RequestRow, 'id'>>;
  #told = new Set<LabelRequestId>();
  #listed: readonly LabelRequestId[] = [];
  #describedAtMs: number | undefined;

  constructor(database: SqliteDatabase) {
    this.#open = database.prepare(
      `SELECT label_requests.id FROM label_requests JOIN samples ON samples.id = sample
       WHERE state = 'open' ORDER BY number LIMIT :limit`,
    );
    this.#described = database.prepare(
      `SELECT servings.model, version, label_requests.request_id, label_requests.row, reason, requested_at_ms,
         samples.at_ms, prediction, confidence, features
       FROM label_requests JOIN samples ON samples.id = sample JOIN servings ON servings.id = serving
       WHERE label_requests.id = :id`,
    );
  }

  /** What has to be told now; undefined while nothing has changed. Calling it counts as having told it. */
  take(terms: ListingTerms): LabelListing | undefined {
    const { isAfresh, nowMs } = terms;
    const open = this.#open.all({ limit: terms.maxOpen }).map(({ id }) => id);
    const describedForMs = nowMs - (this.#describedAtMs ?? -Infinity);
    const isFirst = this.#describedAtMs === undefined || isAfresh;
    // A clock that was set back must not silence it.
    if (isFirst || describedForMs >= DESCRIBE_AFRESH_MS || describedForMs < 0) {
      this.#told = new Set();
      this.#describedAtMs = nowMs;
    }
    const untold = open.filter((id) => !this.#told.has(id));
    const isSame = open.length === this.#listed.length && open.every((id, index) => id === this.#listed[index]);
    if (isSame && untold.length === 0 && !isFirst) return undefined;
    const described = this.#describe(untold, terms);
    const known = new Set(described.map(({ id }) => id));
    this.#told = new Set(open.filter((id) => this.#told.has(id) || known.has(id)));
    this.#listed = open;
    return { open, described };
  }

  #describe(ids: readonly LabelRequestId[], terms: ListingTerms): ListedLabelRequest[] {
    const described: ListedLabelRequest[] = [];
    let bytes = 0;
    for (const id of ids) {
      const row = this.#described.get({ id });
      if (!row) continue;
      const request = toListed(id, row, terms);
      bytes += Buffer.byteLength(JSON.stringify(request));
      if (bytes > MAX_DESCRIBED_BYTES) break;
      described.push(request);
    }
    return described;
  }
}

function toListed(
  id: LabelRequestId,
  row: Omit<RequestRow, 'id'>,
  { sendFeatures, expireAfterMs }: ListingTerms,
): ListedLabelRequest {
  const features = sendFeatures && row.features ? featuresOf(row.features) : undefined;
  return {
    id,
    model: row.model,
    version: row.version,
    ...(row.request_id.length <= MAX_REQUEST_ID && { requestId: row.request_id }),
    row: row.row,
    reason: row.reason,
    requestedAt: row.requested_at_ms,
    servedAt: row.at_ms,
    expiresAt: row.requested_at_ms + expireAfterMs,
    prediction: row.prediction,
    ...(row.confidence !== null && { confidence: row.confidence }),
    ...(features && { features }),
  };
}

/** In nine digits, which give every float32 back (IEEE 754-2008, section 5.12.2). */
function featuresOf(stored: Buffer): (number | null)[] | undefined {
  const { values } = joinFeatures([stored]);
  if (values.length > MAX_FEATURES) return undefined;
  const features = Array.from(values, (value) => (Number.isFinite(value) ? Number(value.toPrecision(9)) : null));
  return JSON.stringify(features).length <= MAX_FEATURES_BYTES ? features : undefined;
}
