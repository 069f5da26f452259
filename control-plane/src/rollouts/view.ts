import type { RolloutId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { unknownRollout } from './engine.js';
import { requestOf, rolloutRow, type RolloutRow } from './load-facts.js';
import { stageSizes } from './plan.js';
import type { RolloutDeviceState } from './states.js';
import type { StageEvidence } from './verdict.js';

const summaryOf = (rollout: RolloutRow, counts: Readonly<Partial<Record<RolloutDeviceState, number>>>) => {
  const request = requestOf(rollout);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const sizes = stageSizes(request.stages, total);
  return {
    id: rollout.id,
    model: rollout.model,
    release: { version: rollout.version, digest: rollout.digest },
    state: rollout.state,
    reason: rollout.reason,
    stage: {
      index: rollout.stage,
      name: request.stages[rollout.stage]?.name ?? '',
      devices: sizes[rollout.stage] ?? 0,
      of: request.stages.length,
    },
    devices: { total, ...counts },
    createdAt: rollout.created_at,
    createdBy: rollout.created_by,
    updatedAt: rollout.updated_at,
  };
};
export type RolloutSummary = ReturnType<typeof summaryOf>;

async function countsOf(db: Db, id: RolloutId): Promise<Partial<Record<RolloutDeviceState, number>>> {
  const rows = await db
    .selectFrom('rollout_devices')
    .select(({ fn }) => ['state', fn.countAll<number | string>().as('count')])
    .where('rollout_id', '=', id)
    .groupBy('state')
    .execute();
  return Object.fromEntries(rows.map(({ state, count }) => [state, Number(count)]));
}

/** Newest first. */
export async function listRollouts(db: Db): Promise<RolloutSummary[]> {
  const rows = await db.selectFrom('rollouts').selectAll().orderBy('created_at', 'desc').limit(1000).execute();
  return Promise.all(rows.map(async (row) => summaryOf(row, await countsOf(db, row.id))));
}

/** @throws RolloutError ROLLOUT_UNKNOWN */
export async function showRollout(db: Db, id: RolloutId) {
  const row = await rolloutRow(db, id);
  if (!row) throw unknownRollout(id);
  const members = await db
    .selectFrom('rollout_devices')
    .selectAll()
    .where('rollout_id', '=', id)
    .orderBy('position')
    .execute();
  const runs = await db.selectFrom('rollout_stages').selectAll().where('rollout_id', '=', id).orderBy('id').execute();
  return {
    ...summaryOf(row, await countsOf(db, id)),
    request: requestOf(row),
    members: members.map((member) => ({
      device: member.device_id,
      state: member.state,
      reason: member.reason,
      stratum: member.stratum,
      ...(member.previous_version === null ? {} : { previousVersion: member.previous_version }),
      updatedAt: member.updated_at,
    })),
    stageRuns: runs.map((run) => ({
      stage: run.stage,
      startedAt: run.started_at,
      ...(run.decided_at === null ? {} : { decidedAt: run.decided_at }),
      ...(run.verdict === null ? {} : { verdict: run.verdict }),
      ...(run.evidence === null ? {} : { evidence: JSON.parse(run.evidence) as StageEvidence }),
    })),
  };
}
