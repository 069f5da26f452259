import { randomBytes } from 'node:crypto';
import {
  newDeploymentId,
  type DeviceId,
  type Digest,
  type ModelName,
  type RolloutId,
  type TrialId,
  type Version,
} from '@drover/shared/ids';
import { kindOf } from '@drover/shared/manifest';
import {
  signDeployment,
  type Deployment,
  type DowngradeGrant,
  type Probation,
  type TrialTerms,
} from '@drover/shared/protocol';
import type { Signer } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import type { OrderTable } from './tables.js';

export interface OrderRequest {
  readonly device: { readonly id: DeviceId; readonly hardwareClass: string };
  readonly model: ModelName;
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly probation: Probation;
  readonly rolloutId?: RolloutId | undefined;
  /** Of an order under the name of a trial, and of no other. */
  readonly trial?: { readonly id: TrialId; readonly terms: TrialTerms } | undefined;
  /** Present when the order goes back to an older release; it expires with the order. */
  readonly downgrade?: Omit<DowngradeGrant, 'expiresAt'> | undefined;
}

export interface OrderTerms {
  readonly signer: Signer;
  readonly epoch: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * Signs and stores an order (docs/protocol.md, section 4). The counter is one above every counter of this device and model: those that this
 * database gave, and the one that the device says it accepted, so that a director restored from a backup is not taken for a replay.
 * Has to run inside a transaction: two orders with one counter would make the device refuse one of them.
 */
export async function storeOrder(trx: Db, request: OrderRequest, terms: OrderTerms): Promise<OrderTable> {
  const { device, model, release, probation, rolloutId, trial, downgrade } = request;
  const { signer, epoch, issuedAt, expiresAt } = terms;
  const counter = (await lastCounter(trx, device.id, model, epoch)) + 1;
  const deployment: Deployment = {
    protocol: 1,
    kind: 'deployment',
    deploymentId: newDeploymentId(),
    deviceId: device.id,
    model,
    release: { version: release.version, digest: release.digest },
    hardwareClass: device.hardwareClass,
    // Section 1: only parameters carry it, and they go to agents only that know it.
    ...(kindOf(model) === 'parameters' ? await siteOf(trx, device.id) : {}),
    epoch,
    counter,
    nonce: randomBytes(16).toString('hex'),
    issuedAt,
    expiresAt,
    ...(rolloutId === undefined ? {} : { rolloutId }),
    ...(trial === undefined ? {} : { trial: trial.terms }),
    ...(downgrade === undefined ? {} : { downgrade: { ...downgrade, expiresAt } }),
    probation,
  };
  const order: OrderTable = {
    deployment_id: deployment.deploymentId,
    device_id: device.id,
    model,
    version: release.version,
    digest: release.digest,
    epoch,
    counter,
    issued_at: issuedAt,
    expires_at: expiresAt,
    rollout_id: rolloutId ?? null,
    probation: JSON.stringify(probation),
    downgrade: downgrade === undefined ? null : JSON.stringify(deployment.downgrade),
    trial: trial === undefined ? null : JSON.stringify(trial.terms),
    trial_id: trial?.id ?? null,
    envelope: signDeployment(deployment, signer).toString('utf8'),
    outcome: null,
    outcome_error: null,
    outcome_at: null,
  };
  await trx.insertInto('orders').values(order).execute();
  return order;
}

/** By what it was enrolled as; the device holds it against its own word (docs/protocol.md, section 4, step 4). */
async function siteOf(trx: Db, device: DeviceId): Promise<{ site?: string }> {
  const label = await trx
    .selectFrom('device_attributes')
    .select('value')
    .where('device_id', '=', device)
    .where('name', '=', 'site')
    .executeTakeFirst();
  return label ? { site: label.value } : {};
}

async function lastCounter(trx: Db, device: DeviceId, model: ModelName, epoch: number): Promise<number> {
  const given = await trx
    .selectFrom('orders')
    .select(({ fn }) => fn.max<number | string>('counter').as('counter'))
    .where('device_id', '=', device)
    .where('model', '=', model)
    .where('epoch', '=', epoch)
    .executeTakeFirst();
  const accepted = await trx
    .selectFrom('device_models')
    .select('accepted_counter')
    .where('device_id', '=', device)
    .where('model', '=', model)
    .where('accepted_epoch', '=', epoch)
    .executeTakeFirst();
  return Math.max(Number(given?.counter ?? 0), accepted?.accepted_counter ?? 0);
}

/** Of orders of one device and model. */
export const newestOf = (orders: readonly OrderTable[]): OrderTable | undefined =>
  [...orders].sort((left, right) => right.epoch - left.epoch || right.counter - left.counter)[0];

/** The newest order of a device, per model: what is desired of it. */
export async function newestOrders(db: Db, devices: readonly DeviceId[]): Promise<OrderTable[]> {
  return db
    .selectFrom('orders')
    .selectAll()
    .where('device_id', 'in', devices)
    .where((order) => {
      const later = order
        .selectFrom('orders as later')
        .select('later.deployment_id')
        .whereRef('later.device_id', '=', 'orders.device_id')
        .whereRef('later.model', '=', 'orders.model')
        .where((row) =>
          row.or([
            row('later.epoch', '>', row.ref('orders.epoch')),
            row.and([
              row('later.epoch', '=', row.ref('orders.epoch')),
              row('later.counter', '>', row.ref('orders.counter')),
            ]),
          ]),
        );
      return order.not(order.exists(later));
    })
    .orderBy('device_id')
    .orderBy('model')
    .execute();
}
