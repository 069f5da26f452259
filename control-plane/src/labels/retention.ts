import type { Db } from '../database/index.js';

const DAY_MS = 86_400_000;
/** After its answer: long enough to see what became of it. */
export const ANSWERS_KEPT_MS = 90 * DAY_MS;
/** Of all devices together. What waits for an answer is bounded by each device already. */
export const MAX_LABEL_REQUESTS = 1_000_000;

/** Forgets requests that nobody answered in time, those of devices that are not believed any more, and old answers. */
export async function pruneLabels(db: Db, nowMs: number, maxRows = MAX_LABEL_REQUESTS): Promise<void> {
  const newestSurplus = await db
    .selectFrom('label_requests')
    .select('number')
    .orderBy('number', 'desc')
    .offset(maxRows)
    .limit(1)
    .executeTakeFirst();
  await db
    .deleteFrom('label_requests')
    .where((row) =>
      row.or([
        row('number', '<=', newestSurplus?.number ?? 0),
        row('answered_at', '<', nowMs - ANSWERS_KEPT_MS),
        row.and([row('answered_at', 'is', null), row('expires_at', '<=', nowMs)]),
        row.exists(
          row
            .selectFrom('devices')
            .select('devices.id')
            .whereRef('devices.id', '=', 'label_requests.device_id')
            .where('revoked_at', 'is not', null),
        ),
      ]),
    )
    .execute();
}
