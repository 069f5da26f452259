import type { DeviceId, Digest, ModelName, RolloutId } from '@drover/shared/ids';
import { isOfKind, type ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import type { LabelledReport } from './accuracy.js';
import { planComparison, type Labels } from './comparison.js';
import { recordEvent } from './events.js';
import { matchControls, stageSizes, type Match } from './plan.js';
import { requestOf, type RolloutRow } from './load-facts.js';
import { isSettled } from './states.js';
import { judgeStage, type StageEvidence, type StageFacts } from './verdict.js';

export interface StageRun {
  readonly id: number;
  readonly startedAt: number;
  readonly startedAfterReport: number;
  readonly evidence: StageEvidence;
}

/** Reports of one device that its baseline looks back on. */
const BASELINE_REPORTS = 50;
/** Reports that one look takes in; the rest comes with the next. */
const MAX_REPORTS = 5000;

/** The run of the stage that is not decided yet. A resume after a halt begins another one. */
export async function currentRun(db: Db, rolloutId: RolloutId, stage: number): Promise<StageRun | undefined> {
  const row = await db
    .selectFrom('rollout_stages')
    .select(['id', 'started_at', 'started_after_report', 'evidence'])
    .where('rollout_id', '=', rolloutId)
    .where('stage', '=', stage)
    .where('decided_at', 'is', null)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!row || row.evidence === null) return undefined;
  const evidence = JSON.parse(row.evidence) as StageEvidence;
  return { id: row.id, startedAt: row.started_at, startedAfterReport: row.started_after_report, evidence };
}

/** Matches devices and controls, takes the baselines, and begins the evidence, before the first order of the stage goes out. */
export async function beginRun(trx: Db, rollout: RolloutRow, manifest: ReleaseManifest, atMs: number): Promise<void> {
  const request = requestOf(rollout);
  const members = await trx
    .selectFrom('rollout_devices as member')
    .leftJoin('device_models as said', (join) =>
      join.onRef('said.device_id', '=', 'member.device_id').on('said.model', '=', rollout.model),
    )
    .select([
      'member.device_id as deviceId',
      'member.stratum',
      'member.state',
      'member.previous_digest',
      'member.ordered_after_report',
      'said.running_digest',
    ])
    .where('member.rollout_id', '=', rollout.id)
    .orderBy('member.position')
    .execute();
  const size = stageSizes(request.stages, members.length)[rollout.stage] ?? members.length;
  const updated = members.slice(0, size).filter(({ state }) => state !== 'skipped');
  // Only a device that serves an older release has anything to compare with.
  const controls = members
    .slice(size)
    .filter(
      ({ state, running_digest }) =>
        state === 'waiting' && running_digest !== null && running_digest !== rollout.digest,
    );
  const startedAfterReport = await newestReport(trx);
  const labels = await baselines(
    trx,
    rollout,
    [...updated, ...controls].map((member) => ({
      device: member.deviceId,
      digest: member.previous_digest ?? member.running_digest,
      until: member.ordered_after_report ?? startedAfterReport,
    })),
  );
  const comparison = planComparison({
    metric: request.gate.metric,
    matches: matchControls(updated, controls),
    baselineOf: (match: Match) => ({
      device: labels.get(match.device) ?? NO_LABELS,
      controls: match.controls.map((control) => labels.get(control) ?? NO_LABELS).reduce(sum, NO_LABELS),
    }),
    heldOut: isOfKind('model', manifest) ? manifest.contract.heldOut : undefined,
  });
  const facts: StageFacts = {
    candidate: rollout.digest,
    gate: request.gate,
    comparison,
    reports: [],
    ...(await outcomesOf(trx, rollout, size)),
  };
  const evidence = judgeStage(facts, undefined);
  await trx
    .insertInto('rollout_stages')
    .values({
      rollout_id: rollout.id,
      stage: rollout.stage,
      started_at: atMs,
      started_after_report: startedAfterReport,
      plan: JSON.stringify(comparison),
      evidence: JSON.stringify(evidence),
      verdict: evidence.verdict,
      decided_at: null,
    })
    .execute();
  const against =
    comparison.mode === 'controls'
      ? `compared with ${controls.length} devices that run an older release`
      : comparison.mode === 'held-out'
        ? `compared with the held-out accuracy ${comparison.heldOut.accuracy} that the publisher signed, because no device runs an older release beside them`
        : comparison.mode === 'not-asked'
          ? 'judged by failures alone'
          : 'which cannot be compared with anything';
  await recordEvent(trx, rollout.id, {
    at: atMs,
    kind: 'stage.begun',
    message: `Stage "${request.stages[rollout.stage]?.name ?? ''}" begins: ${updated.length} devices, ${against}.`,
    detail: { stage: rollout.stage, devices: updated.map(({ deviceId }) => deviceId), comparison },
  });
}

/** Takes in what was reported since the last look, and stores evidence and verdict where they changed. */
export async function observeRun(db: Db, rollout: RolloutRow, atMs: number): Promise<void> {
  const run = await currentRun(db, rollout.id, rollout.stage);
  if (!run) return;
  const request = requestOf(rollout);
  const { comparison, through } = run.evidence.accuracy;
  const total = await db
    .selectFrom('rollout_devices')
    .select(({ fn }) => fn.countAll<number | string>().as('count'))
    .where('rollout_id', '=', rollout.id)
    .executeTakeFirstOrThrow();
  const size = stageSizes(request.stages, Number(total.count))[rollout.stage] ?? 0;
  const reports = await labelledReports(db, rollout.model, Math.max(run.startedAfterReport, through));
  const facts: StageFacts = {
    candidate: rollout.digest,
    gate: request.gate,
    comparison,
    reports,
    ...(await outcomesOf(db, rollout, size)),
  };
  const evidence = judgeStage(facts, run.evidence);
  const text = JSON.stringify(evidence);
  if (text === JSON.stringify(run.evidence)) return;
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('rollout_stages')
      .set({ evidence: text, verdict: evidence.verdict })
      .where('id', '=', run.id)
      .execute();
    if (evidence.verdict !== run.evidence.verdict) {
      await recordEvent(trx, rollout.id, {
        at: atMs,
        kind: 'stage.verdict',
        message: `${evidence.verdict}: ${evidence.reason}`,
        detail: { stage: rollout.stage, verdict: evidence.verdict, before: run.evidence.verdict },
      });
    }
  });
}

const NO_LABELS: Labels = { count: 0, correct: 0 };
const sum = (left: Labels, right: Labels): Labels => ({
  count: left.count + right.count,
  correct: left.correct + right.correct,
});

/** Over all stages so far: the sequential test of failures goes on from stage to stage. */
async function outcomesOf(
  db: Db,
  rollout: RolloutRow,
  size: number,
): Promise<Pick<StageFacts, 'outcomes' | 'pending'>> {
  const rows = await db
    .selectFrom('rollout_devices')
    .select(['device_id', 'state', 'position', 'updated_at'])
    .where('rollout_id', '=', rollout.id)
    .orderBy('updated_at')
    .orderBy('position')
    .execute();
  return {
    outcomes: rows
      .filter(({ state }) => state === 'succeeded' || state === 'failed')
      .map(({ device_id, state }) => ({ device: device_id, failed: state === 'failed' })),
    pending: rows.filter(({ state, position }) => position < size && !isSettled(state)).length,
  };
}

export async function newestReport(db: Db): Promise<number> {
  const row = await db
    .selectFrom('reports')
    .select(({ fn }) => fn.max<number | string>('id').as('id'))
    .executeTakeFirst();
  return Number(row?.id ?? 0);
}

async function labelledReports(db: Db, model: ModelName, after: number): Promise<LabelledReport[]> {
  const rows = await db
    .selectFrom('serving_counts')
    .select(['report_id as report', 'device_id as device', 'digest', 'labelled as count', 'correct'])
    .where('model', '=', model)
    .where('report_id', '>', after)
    .where('labelled', '>', 0)
    .orderBy('report_id')
    .orderBy('digest')
    .limit(MAX_REPORTS)
    .execute();
  // A report may hold several rows; one that the limit cut in two is left whole for the next look.
  const last = rows.at(-1)?.report;
  return rows.length < MAX_REPORTS ? rows : rows.filter(({ report }) => report !== last);
}

/** How well each device served its older release lately, before it was ordered. */
async function baselines(
  db: Db,
  { model }: RolloutRow,
  wanted: readonly { device: DeviceId; digest: Digest | null; until: number }[],
): Promise<Map<DeviceId, Labels>> {
  const found = new Map<DeviceId, Labels>();
  for (const { device, digest, until } of wanted) {
    if (digest === null) continue;
    const rows = await db
      .selectFrom('serving_counts')
      .select(['labelled as count', 'correct'])
      .where('device_id', '=', device)
      .where('model', '=', model)
      .where('digest', '=', digest)
      .where('report_id', '<=', until)
      .where('labelled', '>', 0)
      .orderBy('report_id', 'desc')
      .limit(BASELINE_REPORTS)
      .execute();
    found.set(device, rows.reduce(sum, NO_LABELS));
  }
  return found;
}
