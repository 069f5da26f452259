import { newTrialId, type DeviceId, type ModelName, type TrialId } from '@drover/shared/ids';
import { isOfKind, trialOf, variantFor } from '@drover/shared/manifest';
import type { Probation, TrialTerms } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { deviceDirectory, type Device } from '../devices/index.js';
import type { Director, OrderTable } from '../director/index.js';
import { audit } from '../governance/index.js';
import { releases, releaseWithdrawn } from '../registry/index.js';
import { TrialError } from './errors.js';
import type { TrialRequest } from './request.js';
import type { TrialTable } from './tables.js';

export interface TrialsOptions {
  readonly db: Db;
  readonly director: Pick<Director, 'issue' | 'send'>;
  readonly now: () => number;
  /** An order could not be handed to the broker; the device gets it with its next report. */
  readonly onError: (error: unknown) => void;
}

export interface Trials {
  /**
   * Orders the release to be tried.
   *
   * @throws TrialError TRIAL_INVALID, TRIAL_NO_DEVICES, TRIAL_NOT_TAKEN, TRIAL_OVERLAP; RegistryError RELEASE_UNKNOWN, RELEASE_WITHDRAWN; ManifestError
   *   MANIFEST_NO_VARIANT; DeviceError SELECTOR_EMPTY; IdError where the model's name leaves no room for a trial
   */
  start(request: TrialRequest, by: string): Promise<TrialId>;
  /** Before its time; does nothing where it is over. @throws TrialError TRIAL_UNKNOWN */
  end(id: TrialId, by: string): Promise<void>;
}

/** A device watches a trial by its terms; these bounds are part of every order. */
const PROBATION: Probation = { minMs: 0, minRequests: 0, maxMs: 0, maxFailureShare: 1, maxCrashes: 3 };
const NAMED = 3;

export function createTrials({ db, director, now, onError }: TrialsOptions): Trials {
  const sendAll = async (orders: readonly OrderTable[]): Promise<void> => {
    for (const order of orders) await director.send(order).catch(onError);
  };
  return {
    async start(request, by) {
      const atMs = now();
      const { id, orders } = await db.transaction().execute(async (trx) => {
        const { model, version } = request;
        const release = await releases(trx).get(model, version);
        if (release.withdrawnAt !== undefined) throw releaseWithdrawn(model, version);
        if (!isOfKind('model', release.manifest)) throw noModel(model);
        const found = await deviceDirectory(trx).find(request.selector);
        const devices = found.filter((device) => device.revoked === undefined);
        if (devices.length === 0) throw noDevices();
        for (const { hardwareClass } of devices) variantFor(release.manifest, hardwareClass);
        refuseUnable(devices);
        await refuseOverlap(trx, { model, devices: new Set(devices.map((device) => device.id)), atMs });
        const trial: TrialTable = {
          id: newTrialId(),
          model,
          version,
          digest: release.digest,
          request: JSON.stringify(request),
          until: atMs + request.durationMs,
          created_at: atMs,
          created_by: by,
          ended_at: null,
          ended_by: null,
        };
        await trx.insertInto('trials').values(trial).execute();
        const issued: OrderTable[] = [];
        for (const device of devices) {
          await trx.insertInto('trial_devices').values({ trial_id: trial.id, device_id: device.id }).execute();
          issued.push(await director.issue(trx, orderOf(trial, device, termsOf(trial))));
        }
        await audit(trx).append({
          actor: by,
          action: 'trial.start',
          subject: trial.id,
          detail: { release: `${model}@${version}`, devices: devices.length, mode: request.mode, share: request.share },
          at: atMs,
        });
        return { id: trial.id, orders: issued };
      });
      await sendAll(orders);
      return id;
    },

    async end(id, by) {
      const atMs = now();
      const orders = await db.transaction().execute(async (trx) => {
        const trial = await trialRow(trx, id);
        if (isOver(trial, atMs)) return [];
        await trx.updateTable('trials').set({ ended_at: atMs, ended_by: by }).where('id', '=', id).execute();
        const members = await trx
          .selectFrom('trial_devices')
          .innerJoin('devices', 'devices.id', 'trial_devices.device_id')
          .select(['devices.id', 'devices.hardware_class'])
          .where('trial_id', '=', id)
          .where('devices.revoked_at', 'is', null)
          .orderBy('devices.id')
          .execute();
        const issued: OrderTable[] = [];
        for (const { id: device, hardware_class: hardwareClass } of members)
          issued.push(
            await director.issue(
              trx,
              orderOf(trial, { id: device, hardwareClass }, { ...termsOf(trial), until: atMs }),
            ),
          );
        await audit(trx).append({ actor: by, action: 'trial.end', subject: id, detail: {}, at: atMs });
        return issued;
      });
      await sendAll(orders);
    },
  };
}

/** Its time has passed, or somebody ended it. */
export const isOver = ({ until, ended_at: endedAt }: Pick<TrialTable, 'until' | 'ended_at'>, nowMs: number): boolean =>
  endedAt !== null || until <= nowMs;

/** @throws TrialError TRIAL_UNKNOWN */
export async function trialRow(db: Db, id: TrialId): Promise<TrialTable> {
  const row = await db.selectFrom('trials').selectAll().where('id', '=', id).executeTakeFirst();
  if (row) return row;
  throw new TrialError('TRIAL_UNKNOWN', `There is no trial with the id ${id}.`, {
    remedy: 'Look for it in `drover trial list`.',
  });
}

function termsOf({ request, until }: TrialTable): TrialTerms {
  const { mode, share, tolerance } = JSON.parse(request) as TrialRequest;
  return { mode, share, until, ...(tolerance && { tolerance }) };
}

const orderOf = (
  { id, model, version, digest }: TrialTable,
  device: Pick<Device, 'id' | 'hardwareClass'>,
  trial: TrialTerms,
) => ({
  device: { id: device.id, hardwareClass: device.hardwareClass },
  model: trialOf(model),
  release: { version, digest },
  probation: PROBATION,
  trial: { id, terms: trial },
});

function refuseUnable(devices: readonly Device[]): void {
  const unable = devices.filter(({ takes }) => !takes.includes('trial')).map(({ id }) => id);
  if (unable.length === 0) return;
  throw new TrialError('TRIAL_NOT_TAKEN', `${some(unable)} can't try releases.`, {
    remedy:
      'Update these agents first (`drover agent publish`), or select other devices. An agent in attach mode tries none.',
  });
}

/** A device tries one release of a model at a time: a second trial would end the first. */
async function refuseOverlap(
  trx: Db,
  wanted: { readonly model: ModelName; readonly devices: ReadonlySet<DeviceId>; readonly atMs: number },
): Promise<void> {
  const { model, devices, atMs } = wanted;
  const held = await trx
    .selectFrom('trial_devices')
    .innerJoin('trials', 'trials.id', 'trial_devices.trial_id')
    .select(['trial_devices.device_id', 'trials.id'])
    .where('trials.model', '=', model)
    .where('trials.ended_at', 'is', null)
    .where('trials.until', '>', atMs)
    .execute();
  const overlap = held.filter(({ device_id: device }) => devices.has(device));
  const [first] = overlap;
  if (!first) return;
  throw new TrialError(
    'TRIAL_OVERLAP',
    `The trial ${first.id} of ${model} holds ${overlap.length} of these devices, ${first.device_id} among them.`,
    { remedy: `Wait for it, end it (\`drover trial end ${first.id}\`), or select other devices.` },
  );
}

function some(ids: readonly DeviceId[]): string {
  const more = ids.length > NAMED ? ` and ${ids.length - NAMED} others` : '';
  return `${ids.slice(0, NAMED).join(', ')}${more}`;
}

const noModel = (name: ModelName) =>
  new TrialError('TRIAL_INVALID', `${name} is no model, and cannot be tried beside one.`, {
    remedy: 'Roll it out to a small stage instead (`drover rollout create`).',
  });

const noDevices = () =>
  new TrialError('TRIAL_NO_DEVICES', 'The selector matches no device.', {
    remedy: 'Look at `drover device list` for ids and attributes, then mend the selector.',
  });
