import type { RolloutId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';

/** Stable names; the message is for people. */
export type RolloutEventKind =
  | 'rollout.created'
  | 'rollout.state'
  | 'stage.begun'
  | 'stage.passed'
  | 'stage.verdict'
  | 'device.ordered'
  | 'device.state';

export interface RolloutEventRecord {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly message: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** What happened and why, for whoever watches. Pass the transaction that makes the change. */
export async function recordEvent(
  trx: Db,
  rolloutId: RolloutId,
  event: { at: number; kind: RolloutEventKind; message: string; detail?: Readonly<Record<string, unknown>> },
): Promise<void> {
  const { at, kind, message, detail = {} } = event;
  await trx
    .insertInto('rollout_events')
    .values({ rollout_id: rolloutId, at, kind, message, detail: JSON.stringify(detail) })
    .execute();
}

export async function listEvents(
  db: Db,
  rolloutId: RolloutId,
  { after, limit }: { after: number; limit: number },
): Promise<RolloutEventRecord[]> {
  const rows = await db
    .selectFrom('rollout_events')
    .selectAll()
    .where('rollout_id', '=', rolloutId)
    .where('id', '>', after)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map(({ rollout_id: _rollout, detail, ...row }) => ({
    ...row,
    detail: JSON.parse(detail) as Record<string, unknown>,
  }));
}
