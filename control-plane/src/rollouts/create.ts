import { newRolloutId, type DeviceId, type ModelName, type RolloutId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { deviceDirectory } from '../devices/index.js';
import { audit } from '../governance/index.js';
import { releases, releaseWithdrawn } from '../registry/index.js';
import { RolloutError } from './errors.js';
import { recordEvent } from './events.js';
import { verifyFit } from './fit.js';
import { assignCohorts, stageSizes } from './plan.js';
import { checkRequest, type RolloutRequest } from './request.js';
import { ACTIVE_STATES } from './states.js';

/**
 * Stores a rollout with its cohorts. Nothing is ordered yet: that is the engine's.
 *
 * @throws RolloutError ROLLOUT_INVALID, ROLLOUT_NO_DEVICES, ROLLOUT_OVERLAP, what `verifyFit` throws; RegistryError RELEASE_UNKNOWN, RELEASE_WITHDRAWN;
 *   ManifestError MANIFEST_NO_VARIANT; DeviceError SELECTOR_EMPTY
 */
export async function createRollout(db: Db, request: RolloutRequest, by: string, atMs: number): Promise<RolloutId> {
  checkRequest(request);
  return db.transaction().execute(async (trx) => {
    const release = await releases(trx).get(request.model, request.version);
    if (release.withdrawnAt !== undefined) throw releaseWithdrawn(request.model, request.version);
    const found = await deviceDirectory(trx).find(request.selector);
    // A revoked device takes no orders: a stage would wait for it for ever.
    const devices = found.filter((device) => device.revoked === undefined);
    if (devices.length === 0) {
      throw new RolloutError('ROLLOUT_NO_DEVICES', 'The selector matches no device.', {
        remedy: 'Look at `drover device list` for ids and attributes, then mend the selector.',
      });
    }
    const { manifest } = release;
    await verifyFit(trx, request, manifest, devices);
    await refuseOverlap(trx, request.model, new Set(devices.map(({ id }) => id)));

    const id = newRolloutId();
    await trx
      .insertInto('rollouts')
      .values({
        id,
        model: request.model,
        version: request.version,
        digest: release.digest,
        request: JSON.stringify(request),
        state: 'running',
        reason: `Created by ${by}.`,
        stage: 0,
        revert_wanted: 0,
        created_at: atMs,
        created_by: by,
        updated_at: atMs,
      })
      .execute();
    for (const { deviceId, position, stratum } of assignCohorts(id, devices)) {
      await trx
        .insertInto('rollout_devices')
        .values({
          rollout_id: id,
          device_id: deviceId,
          position,
          stratum,
          state: 'waiting',
          reason: 'Its stage has not begun.',
          previous_version: null,
          previous_digest: null,
          deployment_id: null,
          revert_deployment_id: null,
          ordered_after_report: null,
          updated_at: atMs,
        })
        .execute();
    }
    const sizes = stageSizes(request.stages, devices.length);
    const plan = request.stages.map(({ name }, index) => `${name} (${sizes[index] ?? 0})`).join(', ');
    const subject = `${request.model}@${request.version}`;
    await recordEvent(trx, id, {
      at: atMs,
      kind: 'rollout.created',
      message: `${by} rolls out ${subject} to ${devices.length} devices in stages: ${plan}.`,
      detail: { by, request },
    });
    await audit(trx).append({
      actor: by,
      action: 'rollout.create',
      subject: id,
      detail: { release: subject, devices: devices.length },
      at: atMs,
    });
    return id;
  });
}

/** Two rollouts of one model would order a device back and forth, and spoil each other's comparison. */
async function refuseOverlap(trx: Db, model: ModelName, wanted: ReadonlySet<DeviceId>): Promise<void> {
  const held = await trx
    .selectFrom('rollout_devices')
    .innerJoin('rollouts', 'rollouts.id', 'rollout_devices.rollout_id')
    .select(['rollout_devices.device_id', 'rollouts.id'])
    .where('rollouts.model', '=', model)
    .where('rollouts.state', 'in', [...ACTIVE_STATES])
    .execute();
  const overlap = held.filter(({ device_id }) => wanted.has(device_id));
  const [first] = overlap;
  if (!first) return;
  throw new RolloutError(
    'ROLLOUT_OVERLAP',
    `The rollout ${first.id} of ${model} holds ${overlap.length} of these devices, ${first.device_id} among them.`,
    {
      remedy: `Wait for it, abort it (\`drover rollout abort ${first.id}\`), or select other devices.`,
    },
  );
}
