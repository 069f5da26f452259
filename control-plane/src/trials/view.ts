import type { DeviceId, TrialId } from '@drover/shared/ids';
import { trialOf } from '@drover/shared/manifest';
import type { ComparisonCounts } from '@drover/shared/protocol';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { Db } from '../database/index.js';
import { newestOf, type OrderTable } from '../director/index.js';
import { reportedModels, type ReportedModel } from '../telemetry/reported.js';
import { pooledComparison, type PooledComparison } from './pooled.js';
import type { TrialRequest } from './request.js';
import type { TrialTable } from './tables.js';
import { isOver, trialRow } from './trials.js';

/**
 * `waiting`: it has not taken the order; `beginning`: fetches, verifies, tests; `running`; `over`: ended by its time, by an order or by a newer one; `failed`: the
 * device gave it up or refused it.
 */
export type TrialDeviceState = 'waiting' | 'beginning' | 'running' | 'over' | 'failed';

export interface TrialSummary {
  readonly id: TrialId;
  readonly model: TrialTable['model'];
  readonly release: Pick<TrialTable, 'version' | 'digest'>;
  readonly mode: TrialRequest['mode'];
  readonly share: number;
  readonly state: 'running' | 'over';
  readonly until: number;
  readonly createdAt: number;
  readonly createdBy: string;
  /** Only where it was ended before its time. */
  readonly endedAt?: number;
  readonly endedBy?: string;
}

export interface TrialMember {
  readonly device: DeviceId;
  readonly state: TrialDeviceState;
  readonly error?: CodedErrorJson;
  readonly comparison?: PooledComparison;
}

export interface TrialDetails extends TrialSummary {
  readonly request: TrialRequest;
  readonly comparison: PooledComparison;
  readonly members: readonly TrialMember[];
}

const MAX_LISTED = 1000;

/** Newest first. */
export async function listTrials(db: Db, nowMs: number): Promise<TrialSummary[]> {
  const rows = await db.selectFrom('trials').selectAll().orderBy('created_at', 'desc').limit(MAX_LISTED).execute();
  return rows.map((row) => summaryOf(row, nowMs));
}

/** @throws TrialError TRIAL_UNKNOWN */
export async function showTrial(db: Db, id: TrialId, nowMs: number): Promise<TrialDetails> {
  const trial = await trialRow(db, id);
  const members = await db
    .selectFrom('trial_devices')
    .select('device_id')
    .where('trial_id', '=', id)
    .orderBy('device_id')
    .execute();
  const reported = new Map(
    (await reportedModels(db, { model: trialOf(trial.model) })).map((each) => [each.deviceId, each]),
  );
  const orders = new Map<DeviceId, OrderTable[]>();
  for (const order of await db.selectFrom('orders').selectAll().where('trial_id', '=', id).execute())
    orders.set(order.device_id, [...(orders.get(order.device_id) ?? []), order]);
  const counts = await comparisonsOf(db, trial);
  return {
    ...summaryOf(trial, nowMs),
    request: JSON.parse(trial.request) as TrialRequest,
    comparison: pooledComparison([...counts.values()].flat()),
    members: members.map(({ device_id: device }) => {
      const own = counts.get(device);
      return {
        device,
        ...standingOf(orders.get(device) ?? [], reported.get(device)),
        ...(own && { comparison: pooledComparison(own) }),
      };
    }),
  };
}

function summaryOf(trial: TrialTable, nowMs: number): TrialSummary {
  const { mode, share } = JSON.parse(trial.request) as TrialRequest;
  return {
    id: trial.id,
    model: trial.model,
    release: { version: trial.version, digest: trial.digest },
    mode,
    share,
    state: isOver(trial, nowMs) ? 'over' : 'running',
    until: trial.until,
    createdAt: trial.created_at,
    createdBy: trial.created_by,
    ...(trial.ended_at !== null && { endedAt: trial.ended_at, endedBy: trial.ended_by ?? '' }),
  };
}

/** By the device's signed word about the newest order of this trial. */
function standingOf(
  orders: readonly OrderTable[],
  reported: ReportedModel | undefined,
): Pick<TrialMember, 'state' | 'error'> {
  const order = newestOf(orders);
  if (!order) return { state: 'waiting' };
  const error = order.outcome_error === null ? undefined : (JSON.parse(order.outcome_error) as CodedErrorJson);
  if (order.outcome === 'committed' || error?.code === 'UPDATE_SUPERSEDED') return { state: 'over' };
  if (order.outcome !== null) return { state: 'failed', ...(error && { error }) };
  const ids = new Set(orders.map(({ deployment_id: id }) => id));
  const { deploymentId, state } = reported?.update ?? {};
  if (!deploymentId || !ids.has(deploymentId)) return { state: 'waiting' };
  return { state: state === 'probation' ? 'running' : 'beginning' };
}

async function comparisonsOf(db: Db, { id, model, digest, created_at: since }: TrialTable) {
  const rows = await db
    .selectFrom('trial_comparisons')
    .innerJoin('trial_devices', 'trial_devices.device_id', 'trial_comparisons.device_id')
    .select(['trial_comparisons.device_id', 'counts'])
    .where('trial_devices.trial_id', '=', id)
    .where('trial_comparisons.model', '=', model)
    .where('candidate', '=', digest)
    .where('received_at', '>=', since)
    .orderBy('report_id')
    .execute();
  const byDevice = new Map<DeviceId, ComparisonCounts[]>();
  for (const { device_id: device, counts } of rows)
    byDevice.set(device, [...(byDevice.get(device) ?? []), JSON.parse(counts) as ComparisonCounts]);
  return byDevice;
}
