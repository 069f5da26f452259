import type { DeviceId } from '@drover/shared/ids';
import type { PublicKey } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { DeviceError } from './errors.js';
import { revoked } from './revocation.js';

export interface NewDevice {
  readonly deviceId: DeviceId;
  readonly publicKey: PublicKey;
  /** SHA-256 in hex. */
  readonly credentialHash: string;
  readonly hardwareClass: string;
  readonly agentVersion: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly at: number;
}

/**
 * Puts a device on record, or once more under the same key, or in the place of one that was revoked.
 *
 * @throws DeviceError DEVICE_ID_TAKEN, DEVICE_REVOKED
 */
export async function storeDevice(db: Db, device: NewDevice): Promise<void> {
  const { deviceId, publicKey, credentialHash, hardwareClass, agentVersion, attributes, at } = device;
  const known = await db
    .selectFrom('devices')
    .select(['key_id', 'revoked_at'])
    .where('id', '=', deviceId)
    .executeTakeFirst();
  const isSameKey = known?.key_id === publicKey.keyId;
  if (known && isSameKey && known.revoked_at !== null) throw revoked(deviceId);
  // The id of a revoked device is free for another one in its place.
  if (known && !isSameKey && known.revoked_at === null) {
    throw new DeviceError('DEVICE_ID_TAKEN', `Another device has enrolled as "${deviceId}", with another key.`, {
      remedy: 'Give this device another id, or restore the identity key that it enrolled with.',
    });
  }
  const facts = {
    credential_hash: credentialHash,
    hardware_class: hardwareClass,
    agent_version: agentVersion,
    enrolled_at: at,
  };
  if (known) {
    const identity = { public_key: publicKey.publicKey, key_id: publicKey.keyId };
    const unrevoked = { revoked_at: null, revoked_by: null, revocation_reason: null };
    await db
      .updateTable('devices')
      .set({ ...facts, ...identity, ...unrevoked })
      .where('id', '=', deviceId)
      .execute();
    await db.deleteFrom('device_attributes').where('device_id', '=', deviceId).execute();
  } else {
    await db
      .insertInto('devices')
      .values({ id: deviceId, public_key: publicKey.publicKey, key_id: publicKey.keyId, ...facts, connected: 0 })
      .execute();
  }
  const rows = Object.entries(attributes).map(([name, value]) => ({ device_id: deviceId, name, value }));
  if (rows.length > 0) await db.insertInto('device_attributes').values(rows).execute();
}
