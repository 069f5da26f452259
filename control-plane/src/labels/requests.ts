import type { Selectable } from 'kysely';
import type { DeviceId, LabelRequestId, ModelName, Version } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { classNames, type ClassNames } from './class-names.js';
import { gone } from './answers.js';
import type { LabelRequestTable } from './tables.js';

export interface NamedClass {
  readonly index: number;
  /** As the release has it that served the row; absent where it has no names, or is not known here. */
  readonly name?: string;
}

/** What became of an answer by the word of the device; `waiting`: it has not said yet; `expired`: not in time. */
export const STANDINGS = [
  'waiting',
  'expired',
  'joined',
  'repeated',
  'declined',
  'conflicting',
  'gone',
  'unknown',
  'unfit',
  'other',
] as const;
export type Standing = (typeof STANDINGS)[number];

/** `other` is a word of a newer agent. */
export function standingOf(became: string | null, isOver: boolean): Standing {
  if (became === null) return isOver ? 'expired' : 'waiting';
  return STANDINGS.find((standing) => standing === became) ?? 'other';
}

export interface GivenLabelAnswer {
  /** Null from somebody who can't tell. */
  readonly label: NamedClass | null;
  readonly at: number;
  readonly by: string;
  readonly became: Standing;
  /** When the device said so. */
  readonly becameAt?: number;
}

/** A row that a device would like labelled, as people and systems see it. Times in milliseconds since 1970. */
export interface LabelRequest {
  readonly number: number;
  readonly id: LabelRequestId;
  readonly deviceId: DeviceId;
  /** Where the device was enrolled. */
  readonly site?: string;
  readonly model: ModelName;
  readonly version: Version;
  readonly requestId?: string;
  readonly row: number;
  readonly reason: string;
  /** These two by the clock of the device. */
  readonly requestedAt: number;
  readonly servedAt: number;
  readonly expiresAt: number;
  readonly prediction: NamedClass;
  readonly confidence?: number;
  /** Null is what JSON has no number for. */
  readonly features?: (number | null)[];
  readonly answer?: GivenLabelAnswer;
}

export interface LabelRequestQuery {
  /** Those that wait for an answer, or those that were answered here. */
  readonly state: 'open' | 'answered';
  readonly model?: ModelName | undefined;
  readonly device?: DeviceId | undefined;
  readonly site?: string | undefined;
  readonly reason?: string | undefined;
  /** Only those that arrived after this one. */
  readonly after: number;
  readonly limit: number;
  readonly nowMs: number;
}

/** In the order of their arrival. */
export async function listLabelRequests(db: Db, query: LabelRequestQuery): Promise<LabelRequest[]> {
  const { state, model, device, site, reason, after, limit, nowMs } = query;
  let rows = withSite(db)
    .where('answered_at', state === 'open' ? 'is' : 'is not', null)
    .where('revoked_at', 'is', null)
    .where('number', '>', after)
    .orderBy('number')
    .limit(limit);
  if (state === 'open') rows = rows.where('is_open', '=', 1).where('expires_at', '>', nowMs);
  if (model !== undefined) rows = rows.where('model', '=', model);
  if (device !== undefined) rows = rows.where('label_requests.device_id', '=', device);
  if (reason !== undefined) rows = rows.where('reason', '=', reason);
  if (site !== undefined) rows = rows.where('device_attributes.value', '=', site);
  const names = classNames(db);
  return Promise.all((await rows.execute()).map((row) => toLabelRequest(row, names, nowMs)));
}

/** @throws LabelError LABEL_REQUEST_GONE */
export async function showLabelRequest(db: Db, id: LabelRequestId, nowMs: number): Promise<LabelRequest> {
  const row = await withSite(db).where('label_requests.id', '=', id).where('revoked_at', 'is', null).executeTakeFirst();
  if (!row) throw gone(id);
  return toLabelRequest(row, classNames(db), nowMs);
}

type RequestRow = Selectable<LabelRequestTable> & { readonly site: string | null };

const withSite = (db: Db) =>
  db
    .selectFrom('label_requests')
    .innerJoin('devices', 'devices.id', 'label_requests.device_id')
    .leftJoin('device_attributes', (join) =>
      join
        .onRef('device_attributes.device_id', '=', 'label_requests.device_id')
        .on('device_attributes.name', '=', 'site'),
    )
    .selectAll('label_requests')
    .select('device_attributes.value as site');

async function toLabelRequest(row: RequestRow, names: ClassNames, nowMs: number): Promise<LabelRequest> {
  const { model, version, site, request_id: requestId, confidence, features } = row;
  const classes = await names(model, version);
  const answer = answerOf(row, classes, nowMs);
  return {
    number: row.number,
    id: row.id,
    deviceId: row.device_id,
    ...(site !== null && { site }),
    model,
    version,
    ...(requestId !== null && { requestId }),
    row: row.row,
    reason: row.reason,
    requestedAt: row.requested_at,
    servedAt: row.served_at,
    expiresAt: row.expires_at,
    prediction: toNamedClass(row.prediction, classes),
    ...(confidence !== null && { confidence }),
    ...(features !== null && { features: JSON.parse(features) as (number | null)[] }),
    ...(answer && { answer }),
  };
}

function answerOf(row: RequestRow, names: readonly string[] | undefined, nowMs: number): GivenLabelAnswer | undefined {
  const { answered_at: at, answered_by: by, label, became, became_at: becameAt, expires_at: expiresAt } = row;
  if (at === null) return undefined;
  return {
    label: label === null ? null : toNamedClass(label, names),
    at,
    by: by ?? '',
    became: standingOf(became, expiresAt <= nowMs),
    ...(becameAt !== null && { becameAt }),
  };
}

function toNamedClass(index: number, names: readonly string[] | undefined): NamedClass {
  const name = names?.[index];
  return { index, ...(name !== undefined && { name }) };
}
