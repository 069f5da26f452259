import { compareVersions, type Digest, type RolloutId } from '@drover/shared/ids';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import type { DeviceFacts, RolloutFacts } from './decide.js';
import { stageSizes } from './plan.js';
import type { RolloutRequest } from './request.js';
import { currentRun } from './stage-run.js';
import type { RolloutTable } from './tables.js';

export type RolloutRow = RolloutTable;

/** The signed manifest of a release; the same for ever, so that whoever gives it may remember it. */
export type ManifestSource = (digest: Digest) => Promise<ReleaseManifest>;

export const requestOf = (rollout: RolloutRow): RolloutRequest => JSON.parse(rollout.request) as RolloutRequest;

/** Everything that `decide` looks at, from the database alone: that is what makes the engine resume after a crash. */
export async function loadFacts(
  db: Db,
  rollout: RolloutRow,
  manifestOf: ManifestSource,
  nowMs: number,
): Promise<RolloutFacts> {
  const request = requestOf(rollout);
  const devices = await loadDevices(db, rollout, (await manifestOf(rollout.digest)).revertFloor);
  const run = await currentRun(db, rollout.id, rollout.stage);
  return {
    nowMs,
    state: rollout.state,
    candidate: rollout.digest,
    autoRevert: request.autoRevert,
    revertWanted: rollout.revert_wanted === 1,
    gate: request.gate,
    stage: rollout.stage,
    stageSizes: stageSizes(request.stages, devices.length),
    run: run && { startedAt: run.startedAt, evidence: run.evidence },
    devices,
  };
}

async function loadDevices(
  db: Db,
  rollout: RolloutRow,
  revertFloor: ReleaseManifest['revertFloor'],
): Promise<DeviceFacts[]> {
  const rows = await db
    .selectFrom('rollout_devices as member')
    .leftJoin('device_models as said', (join) =>
      join.onRef('said.device_id', '=', 'member.device_id').on('said.model', '=', rollout.model),
    )
    .leftJoin('orders as working', (join) =>
      join
        .onRef('working.deployment_id', '=', 'said.update_deployment_id')
        .onRef('working.device_id', '=', 'member.device_id'),
    )
    .leftJoin('orders as ended', (join) =>
      join
        .onRef('ended.deployment_id', '=', 'said.outcome_deployment_id')
        .onRef('ended.device_id', '=', 'member.device_id'),
    )
    .leftJoin('orders as back', 'back.deployment_id', 'member.revert_deployment_id')
    .select([
      'member.device_id',
      'member.state',
      'member.reason',
      'member.updated_at',
      'member.previous_version',
      'member.previous_digest',
      'said.running_digest',
      'said.update_state',
      'said.accepted_epoch',
      'said.accepted_counter',
      'said.outcome',
      'said.outcome_digest',
      'said.outcome_error',
      'working.rollout_id as working_rollout',
      'working.digest as working_digest',
      'ended.rollout_id as ended_rollout',
      'ended.digest as ended_digest',
      'back.epoch as back_epoch',
      'back.counter as back_counter',
    ])
    .where('member.rollout_id', '=', rollout.id)
    .orderBy('member.position')
    .execute();
  return rows.map((row): DeviceFacts => {
    const previous =
      row.previous_version === null || row.previous_digest === null
        ? undefined
        : { version: row.previous_version, digest: row.previous_digest };
    // The order that the device says it ended must name the release that it says it ended with.
    const isOwnOutcome = row.ended_rollout === rollout.id && row.ended_digest === row.outcome_digest;
    return {
      id: row.device_id,
      state: row.state,
      reason: row.reason,
      updatedAt: row.updated_at,
      previous,
      runs: row.running_digest ?? undefined,
      worksOn:
        row.working_rollout === rollout.id && row.update_state !== 'idle'
          ? (row.working_digest ?? undefined)
          : undefined,
      outcome:
        isOwnOutcome && row.outcome !== null && row.outcome_digest !== null
          ? {
              digest: row.outcome_digest,
              result: row.outcome,
              error: row.outcome_error === null ? undefined : (JSON.parse(row.outcome_error) as CodedErrorJson),
            }
          : undefined,
      acceptedRevert: isAtLeast(row.accepted_epoch, row.accepted_counter, row.back_epoch, row.back_counter),
      noWayBack: noWayBack(previous, revertFloor),
    };
  });
}

function isAtLeast(
  epoch: number | null,
  counter: number | null,
  otherEpoch: number | null,
  otherCounter: number | null,
): boolean {
  if (epoch === null || counter === null || otherEpoch === null || otherCounter === null) return false;
  return epoch > otherEpoch || (epoch === otherEpoch && counter >= otherCounter);
}

/** docs/protocol.md, section 4, step 7: the device would refuse it, so the director does not sign it. */
function noWayBack(previous: DeviceFacts['previous'], revertFloor: ReleaseManifest['revertFloor']): string | undefined {
  if (!previous) return 'It said of no release that it ran it before: there is nothing to go back to.';
  if (revertFloor === undefined || compareVersions(previous.version as typeof revertFloor, revertFloor) >= 0)
    return undefined;
  return `It ran ${previous.version} before; the publisher allows nothing below ${revertFloor}.`;
}

export async function activeRollouts(db: Db): Promise<RolloutRow[]> {
  return db
    .selectFrom('rollouts')
    .selectAll()
    .where('state', 'in', ['running', 'paused', 'halted', 'reverting'])
    .orderBy('created_at')
    .orderBy('id')
    .execute();
}

export async function rolloutRow(db: Db, id: RolloutId): Promise<RolloutRow | undefined> {
  return db.selectFrom('rollouts').selectAll().where('id', '=', id).executeTakeFirst();
}
