import type { DeviceId } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { DeviceError } from './errors.js';

export const revoked = (id: DeviceId): DeviceError =>
  new DeviceError('DEVICE_REVOKED', `The device "${id}" was revoked: nothing of it is believed any more.`, {
    remedy:
      'If it is to come back, remove its key (device-key.json and identity.json) and enrol it with a new claim token; it then has a new key.',
  });

export interface Revocation {
  readonly id: DeviceId;
  readonly reason: string;
  readonly by: string;
  readonly at: number;
}

/**
 * Ends what a device may do, for good as far as its key goes: credential, certificates, reports. Repeating it changes nothing. The caller cuts
 * its connections afterwards (docs/protocol.md, section 7).
 *
 * @throws DeviceError DEVICE_UNKNOWN
 */
export async function revokeDevice(db: Db, { id, reason, by, at }: Revocation): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const device = await trx.selectFrom('devices').select('revoked_at').where('id', '=', id).executeTakeFirst();
    if (!device) {
      throw new DeviceError('DEVICE_UNKNOWN', `No device with the id "${id}" has enrolled.`, {
        remedy: 'Look for its id in `drover device list`.',
      });
    }
    if (device.revoked_at !== null) return;
    await trx
      .updateTable('devices')
      .set({ revoked_at: at, revoked_by: by, revocation_reason: reason, connected: 0 })
      .where('id', '=', id)
      .execute();
    await trx
      .updateTable('device_certificates')
      .set({ revoked_at: at })
      .where('device_id', '=', id)
      .where('revoked_at', 'is', null)
      .execute();
    await audit(trx).append({ actor: by, action: 'device.revoke', subject: id, detail: { reason }, at });
  });
}
