import type { DeviceId, Digest, ModelName, Version } from '@drover/shared/ids';
import {
  LABEL_ANSWERS_TAKEN,
  ordersTopic,
  signLabelAnswers,
  type DowngradeGrant,
  type Probation,
  type SentLabelAnswer,
  type TrialTerms,
} from '@drover/shared/protocol';
import type { Signer } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { reportedModels } from '../telemetry/reported.js';
import { takes, takesKind } from '../devices/taken-kinds.js';
import { newestOrders, storeOrder, type OrderRequest } from './order.js';
import { reconcile } from './reconcile.js';
import type { OrderTable, Outcome } from './tables.js';

/** How orders get to devices. */
export interface Publisher {
  publish(topic: string, payload: Uint8Array): Promise<void>;
}

export interface DirectorOptions {
  readonly db: Db;
  readonly signer: Signer;
  readonly publisher: Publisher;
  readonly now: () => number;
  readonly recovery: {
    /** Raised after a restored backup, so that devices tell new orders from old ones. */
    epoch(): number;
    isPending(): boolean;
    /** @throws when nothing may be ordered */
    verifyEnded(): void;
    /** What a device needs to know before it takes orders of this epoch. */
    statement(): Uint8Array | undefined;
  };
  /** How long an order holds; an older one is signed anew when its device comes back. */
  readonly orderTtlMs?: number;
  /** The same order is not sent twice within this time. */
  readonly resendMs?: number;
}

const DEFAULT_ORDER_TTL_MS = 24 * 3_600_000;
const DEFAULT_RESEND_MS = 3000;

export interface DesiredRelease {
  readonly model: ModelName;
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly deploymentId: string;
  readonly counter: number;
  readonly issuedAt: number;
  readonly outcome: Outcome | undefined;
}

export interface Director {
  /** Signs and stores; to be called inside the caller's transaction, so that the reason for the order and the order are one. */
  issue(trx: Db, request: OrderRequest): Promise<OrderTable>;
  /** Publishes a stored order with QoS 1. A device that is away gets it when it states what it runs (`settle`). */
  send(order: OrderTable): Promise<void>;
  /** A device has subscribed: it gets the recovery statement, if there is one, and then what it missed. */
  welcome(device: DeviceId): Promise<void>;
  /** Compares what a device says with what is desired, and sends or reissues what differs. Call it when a device subscribes or reports state. */
  settle(device: DeviceId): Promise<void>;
  /** Signs answers to requests for labels and publishes them; to nobody who can't read them, and none before a recovery has ended. */
  sendLabels(device: DeviceId, answers: SentLabelAnswer[]): Promise<void>;
  /** The newest order of a device, signed anew to hold for so long, to be carried there by hand; only where it is for this release and still to be done. */
  exportOrder(wanted: WantedOrder): Promise<OrderTable | Withheld>;
}

export interface WantedOrder {
  readonly device: DeviceId;
  readonly model: ModelName;
  readonly digest: Digest;
  readonly ttlMs: number;
  /** Who asks for it, for the audit log. */
  readonly by: string;
}

/** Why a device gets no order by hand: nothing was ordered for it, that is over, it was taken back or held up, or its agent does not know this kind of release. */
export type Withheld = 'not-ordered' | 'held' | 'ended' | 'history-lost' | 'not-taken';

/** Uptane's director: it chooses among published releases, one signed order per device and model. */
export function createDirector(options: DirectorOptions): Director {
  const {
    db,
    signer,
    publisher,
    now,
    recovery,
    orderTtlMs = DEFAULT_ORDER_TTL_MS,
    resendMs = DEFAULT_RESEND_MS,
  } = options;
  /** When each device's newest order went out, by device and model: at most one entry for each. */
  const sentAt = new Map<string, { deploymentId: string; at: number }>();

  const issue = (trx: Db, request: OrderRequest, ttlMs = orderTtlMs) => {
    recovery.verifyEnded();
    const issuedAt = now();
    return storeOrder(trx, request, { signer, epoch: recovery.epoch(), issuedAt, expiresAt: issuedAt + ttlMs });
  };

  /** What was told of which order, since the start. */
  const told = new Set<string>();

  const tellOnce = async (
    action: 'order.not-taken' | 'order.history-lost',
    order: OrderTable,
    detail: Readonly<Record<string, string | number>>,
  ): Promise<void> => {
    const what = `${action} ${order.deployment_id}`;
    if (told.has(what)) return;
    told.add(what);
    await audit(db).append({ actor: 'control-plane', action, subject: order.device_id, detail, at: now() });
  };

  const send = async (order: OrderTable): Promise<void> => {
    // It may have gone back to an older agent since its rollout was created. When it is updated, it gets the order by its next report.
    if (!(await takesKind(db, order.device_id, order.model)))
      return tellOnce('order.not-taken', order, { model: order.model, version: order.version });
    sentAt.set(`${order.device_id}/${order.model}`, { deploymentId: order.deployment_id, at: now() });
    await publisher.publish(ordersTopic(order.device_id), Buffer.from(order.envelope, 'utf8'));
  };

  /** The same order under a new number. The transaction looks again: two reports of one device must not reissue twice. */
  const reissue = (
    order: OrderTable,
    { actor, action, ttlMs }: ReissueReason = { actor: 'control-plane', action: 'order.reissue' },
  ): Promise<OrderTable | undefined> =>
    db.transaction().execute(async (trx) => {
      const newest = await newestOrders(trx, [order.device_id]);
      if (!newest.some(({ deployment_id }) => deployment_id === order.deployment_id)) return undefined;
      const device = await trx
        .selectFrom('devices')
        .select('hardware_class')
        .where('id', '=', order.device_id)
        .executeTakeFirst();
      if (!device) return undefined;
      const grant = order.downgrade === null ? undefined : (JSON.parse(order.downgrade) as DowngradeGrant);
      const request = {
        device: { id: order.device_id, hardwareClass: device.hardware_class },
        model: order.model,
        release: { version: order.version, digest: order.digest },
        probation: JSON.parse(order.probation) as Probation,
        rolloutId: order.rollout_id ?? undefined,
        trial:
          order.trial === null || order.trial_id === null
            ? undefined
            : { id: order.trial_id, terms: JSON.parse(order.trial) as TrialTerms },
        downgrade: grant && { from: grant.from, to: grant.to, reason: grant.reason, cohort: grant.cohort },
      };
      const again = await issue(trx, request, ttlMs);
      await audit(trx).append({
        actor,
        action,
        subject: order.device_id,
        detail: { model: order.model, version: order.version, counter: again.counter, instead: order.deployment_id },
        at: again.issued_at,
      });
      return again;
    });

  /** @param isFresh it has only now begun to listen: what was sent before, also just before, it never got */
  const settleWith = async (device: DeviceId, isFresh: boolean): Promise<void> => {
    if (recovery.isPending()) return;
    const orders = await newestOrders(db, [device]);
    if (orders.length === 0) return;
    const reported = await reportedModels(db, { devices: [device] });
    for (const order of orders) {
      if (await isHeld(db, order)) continue;
      const said = reported.find(({ model }) => model === order.model);
      if (isOverTrial(order, now()) && (said?.update.state ?? 'idle') === 'idle') continue;
      const verdict = reconcile(order, said, { nowMs: now(), epoch: recovery.epoch() });
      // It knows orders which this database does not: a backup was restored behind the back of `drover restore`.
      if (verdict === 'history-lost')
        await tellOnce('order.history-lost', order, { model: order.model, epoch: order.epoch, counter: order.counter });
      if (verdict === 'reissue') {
        const again = await reissue(order);
        if (again) await send(again);
      }
      if (verdict === 'send') {
        const last = sentAt.get(`${device}/${order.model}`);
        const wasJustSent = last?.deploymentId === order.deployment_id && now() - last.at < resendMs;
        if (isFresh || !wasJustSent) await send(order);
      }
    }
  };

  return {
    issue,
    send,
    async welcome(device) {
      const statement = recovery.statement();
      if (statement) await publisher.publish(ordersTopic(device), statement);
      await settleWith(device, true);
    },
    settle: (device) => settleWith(device, false),
    async sendLabels(deviceId, answers) {
      if (recovery.isPending() || !(await takes(db, deviceId, LABEL_ANSWERS_TAKEN))) return;
      const document = { protocol: 1, kind: 'label-answers', deviceId, issuedAt: now(), answers } as const;
      await publisher.publish(ordersTopic(deviceId), signLabelAnswers(document, signer));
    },
    async exportOrder({ device, model, digest, ttlMs, by }) {
      recovery.verifyEnded();
      const order = (await newestOrders(db, [device])).find((newest) => newest.model === model);
      if (order?.digest !== digest) return 'not-ordered';
      if (await isHeld(db, order)) return 'held';
      if (!(await takesKind(db, device, model))) return 'not-taken';
      const reported = (await reportedModels(db, { devices: [device] })).find((each) => each.model === model);
      const verdict = reconcile(order, reported, { nowMs: now(), epoch: recovery.epoch() });
      if (verdict === 'in-sync' || verdict === 'ended') return 'ended';
      if (verdict === 'history-lost') return 'history-lost';
      return (await reissue(order, { actor: by, action: 'order.export', ttlMs })) ?? 'not-ordered';
    },
  };
}

interface ReissueReason {
  readonly actor: string;
  readonly action: 'order.reissue' | 'order.export';
  readonly ttlMs?: number;
}

/**
 * A rollout that was paused, halted or given up gives its release to nobody any more, also not to a device that was away when the order was
 * signed. Its orders back go out in any case.
 */
async function isHeld(db: Db, order: OrderTable): Promise<boolean> {
  if (order.rollout_id === null) return false;
  const rollout = await db
    .selectFrom('rollouts')
    .select(['state', 'digest'])
    .where('id', '=', order.rollout_id)
    .executeTakeFirst();
  if (rollout?.digest !== order.digest) return false;
  return rollout.state !== 'running' && rollout.state !== 'completed';
}

/** Its time has passed: only a device that is still at it has to hear of it. */
const isOverTrial = ({ trial }: OrderTable, nowMs: number): boolean =>
  trial !== null && (JSON.parse(trial) as TrialTerms).until <= nowMs;

/** What each model of these devices should be, by its newest order. A device without orders has no entry. */
export async function desiredReleases(
  db: Db,
  devices: readonly DeviceId[],
): Promise<ReadonlyMap<DeviceId, readonly DesiredRelease[]>> {
  const desired = new Map<DeviceId, DesiredRelease[]>();
  for (const order of await newestOrders(db, devices)) {
    const own = desired.get(order.device_id) ?? [];
    desired.set(order.device_id, own);
    own.push({
      model: order.model,
      release: { version: order.version, digest: order.digest },
      deploymentId: order.deployment_id,
      counter: order.counter,
      issuedAt: order.issued_at,
      outcome: order.outcome ?? undefined,
    });
  }
  return desired;
}
