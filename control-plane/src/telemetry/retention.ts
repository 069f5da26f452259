import type { ReportKind } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';

export interface Limit {
  readonly maxRows: number;
  readonly maxAgeMs: number;
}

const DAY_MS = 86_400_000;

/** What people look up later is kept long; what arrives every few seconds is kept short, its counts live on in `serving_counts`. */
export const REPORT_LIMITS: Readonly<Record<ReportKind, Limit>> = {
  state: { maxRows: 100_000, maxAgeMs: 7 * DAY_MS },
  transition: { maxRows: 200_000, maxAgeMs: 90 * DAY_MS },
  refusal: { maxRows: 50_000, maxAgeMs: 365 * DAY_MS },
  telemetry: { maxRows: 200_000, maxAgeMs: 7 * DAY_MS },
  drift: { maxRows: 50_000, maxAgeMs: 365 * DAY_MS },
  adaptation: { maxRows: 50_000, maxAgeMs: 365 * DAY_MS },
  incident: { maxRows: 50_000, maxAgeMs: 365 * DAY_MS },
};

/** Longer than a stage may last (rollouts/request.ts), so that no verdict loses its rows before it has read them. */
export const SERVING_COUNT_LIMIT: Limit = { maxRows: 5_000_000, maxAgeMs: 100 * DAY_MS };

/** By the hour and the device; what was broken longer ago is in nobody's hand to mend. */
export const INPUT_LIMIT: Limit = { maxRows: 2_000_000, maxAgeMs: 30 * DAY_MS };

/** Rows that one call deletes of one kind at most: pruning must not hold up ingestion. */
const BATCH_ROWS = 5000;

/** Deletes the oldest rows beyond the limits and remembers, per device, up to where, so that a late repetition is still recognized. */
export async function pruneReports(
  db: Db,
  nowMs: number,
  limits: Readonly<Record<ReportKind, Limit>> = REPORT_LIMITS,
  countLimit: Limit = SERVING_COUNT_LIMIT,
): Promise<number> {
  let deleted = 0;
  for (const [kind, limit] of Object.entries(limits) as [ReportKind, Limit][]) {
    deleted += await pruneKind(db, kind, limit, nowMs);
  }
  for (const table of ['serving_counts', 'trial_comparisons'] as const) await pruneCounts(db, table, nowMs, countLimit);
  for (const table of ['input_hours', 'input_violations'] as const) await pruneInputs(db, table, nowMs);
  return deleted;
}

async function pruneCounts(
  db: Db,
  table: 'serving_counts' | 'trial_comparisons',
  nowMs: number,
  { maxRows, maxAgeMs }: Limit,
): Promise<void> {
  const oldest = await db
    .selectFrom(table)
    .select('report_id')
    .orderBy('report_id', 'desc')
    .offset(maxRows)
    .limit(1)
    .executeTakeFirst();
  await db
    .deleteFrom(table)
    .where((row) => row.or([row('received_at', '<', nowMs - maxAgeMs), row('report_id', '<=', oldest?.report_id ?? 0)]))
    .execute();
}

async function pruneInputs(db: Db, table: 'input_hours' | 'input_violations', nowMs: number): Promise<void> {
  const { maxRows, maxAgeMs } = INPUT_LIMIT;
  const oldest = await db
    .selectFrom(table)
    .select('received_at')
    .orderBy('received_at', 'desc')
    .offset(maxRows)
    .limit(1)
    .executeTakeFirst();
  await db
    .deleteFrom(table)
    .where((row) =>
      row.or([row('received_at', '<', nowMs - maxAgeMs), row('received_at', '<=', oldest?.received_at ?? -1)]),
    )
    .execute();
}

async function pruneKind(db: Db, kind: ReportKind, limit: Limit, nowMs: number): Promise<number> {
  return db.transaction().execute(async (trx) => {
    const newestSurplus = await trx
      .selectFrom('reports')
      .select('id')
      .where('kind', '=', kind)
      .orderBy('id', 'desc')
      .offset(limit.maxRows)
      .limit(1)
      .executeTakeFirst();
    const surplus = await trx
      .selectFrom('reports')
      .select(['id', 'device_id', 'sequence', 'at'])
      .where('kind', '=', kind)
      .where((row) =>
        row.or([row('id', '<=', newestSurplus?.id ?? 0), row('received_at', '<', nowMs - limit.maxAgeMs)]),
      )
      .orderBy('id')
      .limit(BATCH_ROWS)
      .execute();
    const last = surplus.at(-1);
    if (!last) return 0;
    for (const { device_id, sequence, at } of surplus) {
      await trx
        .insertInto('report_floors')
        .values({ device_id, sequence, at })
        .onConflict((conflict) =>
          conflict.column('device_id').doUpdateSet({ sequence, at }).where('report_floors.sequence', '<', sequence),
        )
        .execute();
    }
    await trx
      .deleteFrom('reports')
      .where('kind', '=', kind)
      .where('id', '<=', last.id)
      .where((row) =>
        row.or([row('id', '<=', newestSurplus?.id ?? 0), row('received_at', '<', nowMs - limit.maxAgeMs)]),
      )
      .execute();
    return surplus.length;
  });
}
