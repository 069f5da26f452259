import type { DeviceId, Version } from '@drover/shared/ids';
import type { ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import type { Director, OrderTable } from '../director/index.js';
import { audit } from '../governance/index.js';
import type { Step, StepArguments, StepKind } from './decide.js';
import { recordEvent } from './events.js';
import { requestOf, type RolloutRow } from './load-facts.js';
import { beginRun, newestReport } from './stage-run.js';
import { nextDeviceState, nextRolloutState, type RolloutDeviceEvent, type RolloutEvent } from './states.js';

export interface ExecutionContext {
  readonly director: Pick<Director, 'issue'>;
  /** Of the release that is rolled out; read before the transaction, which holds the only connection. */
  readonly manifest: ReleaseManifest;
  readonly now: () => number;
}

/** Runs inside a transaction; what has to be sent after the commit is returned. */
type Executor<Kind extends StepKind> = (
  trx: Db,
  rollout: RolloutRow,
  args: StepArguments[Kind],
  context: ExecutionContext,
) => Promise<OrderTable[]>;

const NOTHING: OrderTable[] = [];

/** The one way that a rollout changes its state: by the table, with the reason, the event and the audit entry in the same transaction. */
export async function changeRolloutState(
  trx: Db,
  rollout: RolloutRow,
  change: { event: RolloutEvent; reason: string; actor: string; atMs: number; revertWanted?: boolean },
): Promise<void> {
  const { event, reason, actor, atMs, revertWanted = false } = change;
  const to = nextRolloutState(rollout.state, event);
  await trx
    .updateTable('rollouts')
    .set({ state: to, reason, updated_at: atMs, revert_wanted: revertWanted ? 1 : 0 })
    .where('id', '=', rollout.id)
    .execute();
  const detail = { from: rollout.state, to, reason, actor };
  await recordEvent(trx, rollout.id, {
    at: atMs,
    kind: 'rollout.state',
    message: `${rollout.state} → ${to}: ${reason}`,
    detail,
  });
  await audit(trx).append({
    actor,
    action: `rollout.${event}`,
    subject: rollout.id,
    detail: { from: rollout.state, to, reason },
    at: atMs,
  });
}

/** The one way that a device changes its state within a rollout. */
async function changeDeviceState(
  trx: Db,
  rollout: RolloutRow,
  change: { device: DeviceId; event: RolloutDeviceEvent; reason: string; atMs: number; columns?: DeviceColumns },
): Promise<void> {
  const { device, event, reason, atMs, columns = {} } = change;
  const member = await trx
    .selectFrom('rollout_devices')
    .select('state')
    .where('rollout_id', '=', rollout.id)
    .where('device_id', '=', device)
    .executeTakeFirstOrThrow();
  const to = nextDeviceState(member.state, event);
  await trx
    .updateTable('rollout_devices')
    .set({ state: to, reason, updated_at: atMs, ...columns })
    .where('rollout_id', '=', rollout.id)
    .where('device_id', '=', device)
    .execute();
  await recordEvent(trx, rollout.id, {
    at: atMs,
    kind: event === 'order' ? 'device.ordered' : 'device.state',
    message: `${device}: ${member.state} → ${to}. ${reason}`,
    detail: { device, from: member.state, to, reason },
  });
}

interface DeviceColumns {
  readonly previous_version?: Version | null;
  readonly previous_digest?: RolloutRow['digest'] | null;
  readonly deployment_id?: OrderTable['deployment_id'];
  readonly revert_deployment_id?: OrderTable['deployment_id'];
  readonly ordered_after_report?: number;
}

async function closeRun(trx: Db, rollout: RolloutRow, atMs: number): Promise<void> {
  await trx
    .updateTable('rollout_stages')
    .set({ decided_at: atMs })
    .where('rollout_id', '=', rollout.id)
    .where('decided_at', 'is', null)
    .execute();
}

async function hardwareClassOf(trx: Db, device: DeviceId): Promise<string> {
  const row = await trx
    .selectFrom('devices')
    .select('hardware_class')
    .where('id', '=', device)
    .executeTakeFirstOrThrow();
  return row.hardware_class;
}

const EXECUTORS: { readonly [Kind in StepKind]: Executor<Kind> } = {
  'observe-device': async (trx, rollout, args, { now }) => {
    await changeDeviceState(trx, rollout, { ...args, atMs: now() });
    return NOTHING;
  },

  'explain-device': async (trx, rollout, { device, reason }, { now }) => {
    await trx
      .updateTable('rollout_devices')
      .set({ reason })
      .where('rollout_id', '=', rollout.id)
      .where('device_id', '=', device)
      .execute();
    await recordEvent(trx, rollout.id, {
      at: now(),
      kind: 'device.state',
      message: `${device}: ${reason}`,
      detail: { device, reason },
    });
    return NOTHING;
  },

  'begin-stage': async (trx, rollout, _args, { manifest, now }) => {
    await beginRun(trx, rollout, manifest, now());
    return NOTHING;
  },

  'order-devices': async (trx, rollout, { devices }, { director, now }) => {
    const { probation } = requestOf(rollout);
    const orderedAfterReport = await newestReport(trx);
    const orders: OrderTable[] = [];
    for (const device of devices) {
      const said = await trx
        .selectFrom('device_models')
        .select(['running_version', 'running_digest'])
        .where('device_id', '=', device)
        .where('model', '=', rollout.model)
        .executeTakeFirst();
      const order = await director.issue(trx, {
        device: { id: device, hardwareClass: await hardwareClassOf(trx, device) },
        model: rollout.model,
        release: rollout,
        probation,
        rolloutId: rollout.id,
      });
      const before = said?.running_version ?? undefined;
      await changeDeviceState(trx, rollout, {
        device,
        event: 'order',
        reason: `It was ordered to run ${rollout.version}${before === undefined ? '' : ` instead of ${before}`}.`,
        atMs: now(),
        columns: {
          previous_version: said?.running_version ?? null,
          previous_digest: said?.running_digest ?? null,
          deployment_id: order.deployment_id,
          ordered_after_report: orderedAfterReport,
        },
      });
      orders.push(order);
    }
    return orders;
  },

  'advance-stage': async (trx, rollout, { to, reason }, { now }) => {
    const { stages } = requestOf(rollout);
    await closeRun(trx, rollout, now());
    await trx.updateTable('rollouts').set({ stage: to, updated_at: now() }).where('id', '=', rollout.id).execute();
    await recordEvent(trx, rollout.id, {
      at: now(),
      kind: 'stage.passed',
      message: `Stage "${stages[rollout.stage]?.name ?? ''}" is passed: ${reason}`,
      detail: { stage: rollout.stage, to },
    });
    return NOTHING;
  },

  halt: async (trx, rollout, { reason, revert }, { now }) => {
    await closeRun(trx, rollout, now());
    await changeRolloutState(trx, rollout, {
      event: 'halt',
      reason,
      actor: 'control-plane',
      atMs: now(),
      revertWanted: revert,
    });
    return NOTHING;
  },

  'begin-revert': async (trx, rollout, { reason }, { now }) => {
    await changeRolloutState(trx, rollout, { event: 'revert', reason, actor: 'control-plane', atMs: now() });
    return NOTHING;
  },

  'revert-devices': async (trx, rollout, { devices }, { director, now }) => {
    const { probation } = requestOf(rollout);
    const orders: OrderTable[] = [];
    for (const device of devices) {
      const member = await trx
        .selectFrom('rollout_devices')
        .select(['previous_version', 'previous_digest'])
        .where('rollout_id', '=', rollout.id)
        .where('device_id', '=', device)
        .executeTakeFirstOrThrow();
      const { previous_version: version, previous_digest: digest } = member;
      if (version === null || digest === null) throw new Error(`${device} has no release to go back to.`);
      const order = await director.issue(trx, {
        device: { id: device, hardwareClass: await hardwareClassOf(trx, device) },
        model: rollout.model,
        release: { version, digest },
        probation,
        rolloutId: rollout.id,
        downgrade: {
          from: { version: rollout.version, digest: rollout.digest },
          to: { version, digest },
          reason: rollout.reason.slice(0, 500),
          cohort: `rollout ${rollout.id}`,
        },
      });
      await changeDeviceState(trx, rollout, {
        device,
        event: 'revert',
        reason: `It was ordered back to ${version}.`,
        atMs: now(),
        columns: { revert_deployment_id: order.deployment_id },
      });
      orders.push(order);
    }
    return orders;
  },

  'finish-revert': async (trx, rollout, { reason }, { now }) => {
    await changeRolloutState(trx, rollout, { event: 'confirm', reason, actor: 'control-plane', atMs: now() });
    return NOTHING;
  },

  complete: async (trx, rollout, { reason }, { now }) => {
    await closeRun(trx, rollout, now());
    await changeRolloutState(trx, rollout, { event: 'complete', reason, actor: 'control-plane', atMs: now() });
    return NOTHING;
  },
};

/** Carries out one step in one transaction, and returns the orders that it stored, for sending. */
export function execute(db: Db, rollout: RolloutRow, step: Step, context: ExecutionContext): Promise<OrderTable[]> {
  return db.transaction().execute((trx) => run(trx, rollout, step, context));
}

function run<Kind extends StepKind>(
  trx: Db,
  rollout: RolloutRow,
  step: { readonly kind: Kind } & StepArguments[Kind],
  context: ExecutionContext,
): Promise<OrderTable[]> {
  return EXECUTORS[step.kind](trx, rollout, step, context);
}
