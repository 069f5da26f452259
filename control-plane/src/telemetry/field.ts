import type { DeviceId, Digest, ModelName, Version } from '@drover/shared/ids';
import type { ReportKind } from '@drover/shared/protocol';
import type { Selectable } from 'kysely';
import type { Db } from '../database/index.js';
import type { ReportTable } from './tables.js';

export interface FieldCounts {
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly devices: number;
  readonly requests: number;
  readonly failures: number;
  readonly labelled: number;
  readonly correct: number;
  /** correct / labelled; undefined without labels. */
  readonly accuracy: number | undefined;
  /** Of the values of a regression, in the unit of its task; undefined where no truth has arrived. */
  readonly errors: ValueErrors | undefined;
}

export interface ValueErrors {
  readonly count: number;
  /** By how much values were too large. */
  readonly mean: number;
  readonly meanAbsolute: number;
  readonly rootMeanSquare: number;
}

export interface FieldQuery {
  readonly model: ModelName;
  /** Milliseconds since 1970, by the control plane's clock at arrival; `since` is included, `until` is not. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

/** What the fleet served and how well, by release, oldest first. */
export async function fieldAccuracy(db: Db, { model, since, until }: FieldQuery): Promise<FieldCounts[]> {
  let query = db
    .selectFrom('serving_counts')
    .select(({ fn }) => [
      'version',
      'digest',
      fn.count<number | string>('device_id').distinct().as('devices'),
      fn.sum<number | string>('requests').as('requests'),
      fn.sum<number | string>('failures').as('failures'),
      fn.sum<number | string>('labelled').as('labelled'),
      fn.sum<number | string>('correct').as('correct'),
      fn.sum<number | string>('error_count').as('error_count'),
      fn.sum<number>('error_sum').as('error_sum'),
      fn.sum<number>('error_absolute').as('error_absolute'),
      fn.sum<number>('error_squared').as('error_squared'),
      fn.min('report_id').as('first'),
    ])
    .where('model', '=', model)
    .groupBy(['version', 'digest'])
    .orderBy('first');
  if (since !== undefined) query = query.where('received_at', '>=', since);
  if (until !== undefined) query = query.where('received_at', '<', until);
  return (await query.execute()).map((row) => ({
    release: { version: row.version, digest: row.digest },
    devices: Number(row.devices),
    requests: Number(row.requests),
    failures: Number(row.failures),
    labelled: Number(row.labelled),
    correct: Number(row.correct),
    accuracy: Number(row.labelled) > 0 ? Number(row.correct) / Number(row.labelled) : undefined,
    errors: valueErrors(Number(row.error_count), row),
  }));
}

interface ErrorSums {
  readonly error_sum: number;
  readonly error_absolute: number;
  readonly error_squared: number;
}

const valueErrors = (count: number, sums: ErrorSums): ValueErrors | undefined =>
  count === 0
    ? undefined
    : {
        count,
        mean: sums.error_sum / count,
        meanAbsolute: sums.error_absolute / count,
        rootMeanSquare: Math.sqrt(sums.error_squared / count),
      };

export interface StoredReport {
  readonly id: number;
  readonly deviceId: DeviceId;
  readonly sequence: number;
  readonly kind: ReportKind;
  readonly at: number;
  readonly receivedAt: number;
  readonly body: unknown;
}

export interface ReportQuery {
  readonly kind?: ReportKind | undefined;
  readonly device?: DeviceId | undefined;
  readonly after?: number | undefined;
  readonly limit?: number | undefined;
  /** Newest first instead of oldest first. */
  readonly newestFirst?: boolean;
}

export async function listReports(
  db: Db,
  { kind, device, after, limit = 100, newestFirst = false }: ReportQuery,
): Promise<StoredReport[]> {
  let query = db
    .selectFrom('reports')
    .selectAll()
    .orderBy('id', newestFirst ? 'desc' : 'asc')
    .limit(limit);
  if (kind !== undefined) query = query.where('kind', '=', kind);
  if (device !== undefined) query = query.where('device_id', '=', device);
  if (after !== undefined) query = query.where('id', '>', after);
  return (await query.execute()).map(toStoredReport);
}

/** The newest reports of one kind of each of these devices, newest first. One query, however many devices. */
export async function newestReports(
  db: Db,
  { kind, devices, each }: { readonly kind: ReportKind; readonly devices: readonly DeviceId[]; readonly each: number },
): Promise<StoredReport[]> {
  const rows = await db
    .selectFrom('devices')
    .innerJoin('reports', (join) =>
      join.on('reports.id', 'in', (own) =>
        own
          .selectFrom('reports as newest')
          .select('newest.id')
          .whereRef('newest.device_id', '=', 'devices.id')
          .where('newest.kind', '=', kind)
          .orderBy('newest.id', 'desc')
          .limit(each),
      ),
    )
    .selectAll('reports')
    .where('devices.id', 'in', devices)
    .orderBy('reports.id', 'desc')
    .execute();
  return rows.map(toStoredReport);
}

const toStoredReport = (row: Selectable<ReportTable>): StoredReport => ({
  id: row.id,
  deviceId: row.device_id,
  sequence: row.sequence,
  kind: row.kind,
  at: row.at,
  receivedAt: row.received_at,
  body: JSON.parse(row.body) as unknown,
});
