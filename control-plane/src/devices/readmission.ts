import { X509Certificate } from 'node:crypto';
import type { DeviceId } from '@drover/shared/ids';
import { openReadmission, type DeviceCertificate } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { audit, hashSecret, newSecret } from '../governance/index.js';
import type { DeviceCertificates } from './certificates.js';
import { DeviceError } from './errors.js';
import { storeDevice } from './store-device.js';

/** Who knows of which time this database holds nothing. */
export interface LostHistory {
  isLostTime(time: { readonly fromMs: number; readonly untilMs: number }): Promise<boolean>;
}

export interface Readmission {
  readonly envelope: Uint8Array;
  readonly at: number;
}

/**
 * Lets a device in again that enrolled in a time which this database has lost (docs/protocol.md, section 7, step 11). What proves it: it has the
 * key of a certificate that an accepted authority of this control plane issued to it in that time. Attributes that its claim token gave it are
 * lost with the token: it says itself what they are.
 *
 * @throws TrustError, ProtocolError if the proof does not hold; DeviceError READMISSION_REFUSED, DEVICE_ID_TAKEN, DEVICE_REVOKED
 */
export async function readmitDevice(
  db: Db,
  { envelope, at }: Readmission,
  certificates: DeviceCertificates,
  history: LostHistory,
): Promise<DeviceCertificate & { deviceId: DeviceId }> {
  const request = openReadmission(envelope);
  const { deviceId, publicKey, credentialHash = hashSecret(newSecret('device')) } = request;
  const issued = certificates.whomIssuedTo(parse(request.certificate));
  if (issued.kind !== 'device') throw refused(issued.kind === 'refused' ? issued.why : 'it is that of an account');
  if (issued.deviceId !== deviceId) throw refused(`it is that of "${issued.deviceId}"`);
  if (issued.publicKeyHex !== publicKey.publicKey) throw refused('it is for another key');
  const { issuedAtMs } = issued;
  if (!(await history.isLostTime({ fromMs: issuedAtMs, untilMs: issuedAtMs + 999 })))
    throw refused(
      `it was issued at ${new Date(issuedAtMs).toISOString()}, a time of which this control plane knows everything`,
    );
  return db.transaction().execute(async (trx) => {
    const known = await trx
      .selectFrom('devices')
      .select(['key_id', 'revoked_at'])
      .where('id', '=', deviceId)
      .executeTakeFirst();
    // The answer to an earlier request may have been lost; what was stored then stays.
    if (known?.key_id !== publicKey.keyId || known.revoked_at !== null) {
      await storeDevice(trx, { ...request, credentialHash, at: issuedAtMs });
      const { hardwareClass, attributes } = request;
      const detail = { keyId: publicKey.keyId, hardwareClass, attributes, enrolledAt: issuedAtMs };
      await audit(trx).append({ actor: deviceId, action: 'device.readmit', subject: deviceId, detail, at });
    }
    return { deviceId, ...(await certificates.issue(trx, { deviceId, publicKey, at })) };
  });
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw refused('it is no certificate', cause);
  }
}

const refused = (why: string, cause?: unknown) =>
  new DeviceError('READMISSION_REFUSED', `This certificate lets nobody in again: ${why}.`, {
    remedy: 'Enrol the device with a new claim token (`drover device token create`); its key and id may stay.',
    cause,
  });
