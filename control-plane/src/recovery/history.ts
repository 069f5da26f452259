import type { RecoveryStatement } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { activeRollouts, changeRolloutState } from '../rollouts/index.js';

export interface PendingRecovery {
  /** For people: what happened, as the subject of a sentence that has ended. */
  readonly reason: string;
  readonly begunAt: number;
}

export interface InstalledStatement {
  readonly epoch: number;
  readonly envelope: string;
}

export interface RecoveryBegin extends PendingRecovery {
  /** Since when nothing is known, where a part of the past was lost. */
  readonly lostFrom?: number;
}

/** From now on nothing is ordered until a statement ends it. Rollouts that ran are paused: they may have ended in a time that is not known here. */
export async function beginRecovery(db: Db, { reason, begunAt, lostFrom }: RecoveryBegin): Promise<void> {
  const actor = 'control-plane';
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('recoveries')
      .values({
        reason,
        begun_at: begunAt,
        lost_from: lostFrom ?? null,
        epoch: null,
        statement: null,
        ended_at: null,
      })
      .execute();
    for (const rollout of await activeRollouts(trx)) {
      if (rollout.state !== 'running') continue;
      const why = `${reason}; what this rollout did since is not known.`;
      await changeRolloutState(trx, rollout, { event: 'pause', reason: why, actor, atMs: begunAt });
    }
    await audit(trx).append({
      actor,
      action: 'recovery.begin',
      subject: 'control-plane',
      detail: { reason, ...(lostFrom === undefined ? {} : { lostFrom }) },
      at: begunAt,
    });
  });
}

/** What no statement has ended yet. */
export async function pendingRecovery(db: Db): Promise<PendingRecovery | undefined> {
  const row = await db
    .selectFrom('recoveries')
    .selectAll()
    .where('ended_at', 'is', null)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && { reason: row.reason, begunAt: row.begun_at };
}

/** Whether this control plane may have acted between these two without this database holding it. */
export async function isLostTime(db: Db, { fromMs, untilMs }: { fromMs: number; untilMs: number }): Promise<boolean> {
  const row = await db
    .selectFrom('recoveries')
    .select('id')
    .where('lost_from', '<=', untilMs)
    .where('begun_at', '>=', fromMs)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** The statement in force; undefined where nothing was ever recovered. */
export async function newestStatement(db: Db): Promise<InstalledStatement | undefined> {
  const row = await db
    .selectFrom('recoveries')
    .select(['epoch', 'statement'])
    .where('epoch', 'is not', null)
    .orderBy('epoch', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!row || row.epoch === null || row.statement === null) return undefined;
  return { epoch: row.epoch, envelope: row.statement };
}

/** The highest epoch of which a device says, signed, that it accepted an order; none above `atMost`, whoever says so. */
export async function highestReportedEpoch(db: Db, atMost: number): Promise<number | undefined> {
  const row = await db
    .selectFrom('device_models')
    .select(({ fn }) => fn.max('accepted_epoch').as('epoch'))
    .where('accepted_epoch', '<=', atMost)
    .executeTakeFirst();
  return row?.epoch ?? undefined;
}

/** Stores a verified statement, which ends whatever waited for it. */
export async function storeStatement(
  db: Db,
  { statement, envelope, by, at }: { statement: RecoveryStatement; envelope: string; by: string; at: number },
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx.updateTable('recoveries').set({ ended_at: at }).where('ended_at', 'is', null).execute();
    await trx
      .insertInto('recoveries')
      .values({
        reason: statement.reason,
        begun_at: at,
        lost_from: null,
        epoch: statement.epoch,
        statement: envelope,
        ended_at: at,
      })
      .execute();
    await audit(trx).append({
      actor: by,
      action: 'recovery.end',
      subject: 'control-plane',
      detail: {
        epoch: statement.epoch,
        reason: statement.reason,
        director: statement.director.keys.map(({ keyId }) => keyId),
      },
      at,
    });
  });
}
