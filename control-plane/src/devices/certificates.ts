import type { X509Certificate } from 'node:crypto';
import type { DeviceId, KeyId } from '@drover/shared/ids';
import { openRenewal, type DeviceCertificate } from '@drover/shared/protocol';
import type { PublicKey } from '@drover/shared/trust';
import {
  identify,
  issuedAtMs,
  type Authorities,
  type Identified,
  type IdentifiedDevice,
} from '../certificate-authority/index.js';
import { issueDeviceCertificate } from '../certificate-authority/issue.js';
import type { CertificateHolder } from '../broker/index.js';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { deviceDirectory } from './directory.js';

/** What a device learns about its certificate, to decide whether to ask for a new one. */
export interface CertificateStatus {
  readonly renewalDue: boolean;
  readonly authorities: readonly string[];
}

export interface DeviceCertificates {
  issue(
    db: Db,
    device: {
      readonly deviceId: DeviceId;
      readonly publicKey: Pick<PublicKey, 'publicKey' | 'keyId'>;
      readonly at: number;
    },
  ): Promise<DeviceCertificate>;
  /** Docs and errors: docs/protocol.md, section 7. */
  renew(db: Db, envelope: Uint8Array, at: number): Promise<DeviceCertificate & { deviceId: DeviceId }>;
  /** Whom it stood for when it was issued, by an authority that is accepted now. */
  whomIssuedTo(certificate: X509Certificate): Identified;
  holderOf(db: Db, certificate: X509Certificate, at: number): Promise<CertificateHolder>;
  status(db: Db, deviceId: DeviceId, at: number): Promise<CertificateStatus>;
}

/** Issued in a time that this database has lost: it has to be on record, or a revocation list could never name it. */
async function recordForgotten(db: Db, issued: IdentifiedDevice, keyId: KeyId, at: number): Promise<void> {
  const { serial, deviceId, authority, issuedAtMs, expiresAtMs } = issued;
  await db
    .insertInto('device_certificates')
    .values({
      serial,
      device_id: deviceId,
      key_id: keyId,
      authority,
      issued_at: issuedAtMs,
      expires_at: expiresAtMs,
      first_used_at: at,
      revoked_at: null,
    })
    .onConflict((conflict) => conflict.column('serial').doNothing())
    .execute();
}

async function recordFirstUse(db: Db, serial: string, at: number): Promise<void> {
  await db
    .updateTable('device_certificates')
    .set({ first_used_at: at })
    .where('serial', '=', serial)
    .where('first_used_at', 'is', null)
    .execute();
}

/** So long an expired certificate is kept for people who look for what happened. */
const KEPT_AFTER_EXPIRY_MS = 30 * 86_400_000;

/**
 * Deletes certificates that ran out long ago, but never the newest of a device: by it the control plane knows which authority the device believes,
 * and whether that one can be retired.
 *
 * @returns how many
 */
export async function pruneCertificates(db: Db, nowMs: number): Promise<number> {
  const { numDeletedRows } = await db
    .deleteFrom('device_certificates')
    .where('expires_at', '<', nowMs - KEPT_AFTER_EXPIRY_MS)
    .where((old) =>
      old.exists(
        old
          .selectFrom('device_certificates as later')
          .select('later.serial')
          .whereRef('later.device_id', '=', 'device_certificates.device_id')
          .whereRef('later.issued_at', '>', 'device_certificates.issued_at')
          .where('later.first_used_at', 'is not', null),
      ),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** A certificate is renewed after two thirds of its life: there is a third to be offline in. */
const RENEW_AT = 2 / 3;

/** Certificates of devices: issued for the key on record, and worth nothing without a device on record that is not revoked. */
export function deviceCertificates(authorities: Authorities, lifeMs: number): DeviceCertificates {
  const trusted = (): string[] => authorities.accepted().map(({ pem }) => pem);

  const issue: DeviceCertificates['issue'] = async (db, { deviceId, publicKey, at }) => {
    const certificate = await issueDeviceCertificate(
      authorities.issuer(),
      { deviceId, publicKeyHex: publicKey.publicKey },
      { fromMs: at, untilMs: at + lifeMs },
    );
    await db
      .insertInto('device_certificates')
      .values({
        serial: certificate.serialNumber.toLowerCase(),
        device_id: deviceId,
        key_id: publicKey.keyId,
        authority: authorities.current().number,
        issued_at: at,
        expires_at: at + lifeMs,
      })
      .execute();
    return { certificate: `${certificate.toString('pem')}\n`, authorities: trusted() };
  };

  return {
    issue,

    async renew(db, envelope, at) {
      const directory = deviceDirectory(db);
      // The key on record alone proves it, so that a device whose certificate ran out while it was away can help itself. The answer is a
      // certificate for that key: whoever repeats a recorded request gets nothing that is of use without it.
      const { deviceId } = await openRenewal(envelope, (id) => directory.publicKeyOf(id));
      return db.transaction().execute(async (trx) => {
        // Once more, in the transaction: a revocation may have come in between.
        const [publicKey] = (await deviceDirectory(trx).publicKeyOf(deviceId)).keys;
        if (!publicKey) throw new Error('a device on record has a key');
        const issued = await issue(trx, { deviceId, publicKey, at });
        await audit(trx).append({
          actor: deviceId,
          action: 'device.renew',
          subject: deviceId,
          detail: { authority: authorities.current().number },
          at,
        });
        return { deviceId, ...issued };
      });
    },

    whomIssuedTo: (certificate) => identify(certificate, authorities.accepted(), issuedAtMs(certificate)),

    async holderOf(db, certificate, at) {
      const identified = identify(certificate, authorities.accepted(), at);
      if (identified.kind !== 'device') return identified;
      const { deviceId: id, serial, publicKeyHex } = identified;
      const device = await db
        .selectFrom('devices')
        .leftJoin('device_certificates as shown', (join) => join.on('shown.serial', '=', serial))
        .select(['public_key', 'devices.key_id', 'devices.revoked_at', 'shown.serial', 'shown.first_used_at'])
        .where('devices.id', '=', id)
        .executeTakeFirst();
      if (!device) return { kind: 'refused', why: `no device "${id}" has enrolled` };
      if (device.revoked_at !== null) return { kind: 'refused', why: `"${id}" was revoked` };
      if (publicKeyHex !== device.public_key)
        return { kind: 'refused', why: `it is for another key than that of "${id}"` };
      // Only once for each certificate: a request that changes nothing must not wait for those that write.
      if (device.serial === null) await recordForgotten(db, identified, device.key_id, at);
      else if (device.first_used_at === null) await recordFirstUse(db, serial, at);
      return { kind: 'device', id };
    },

    async status(db, deviceId, at) {
      const used = await db
        .selectFrom('device_certificates')
        .select(['authority', 'issued_at', 'expires_at'])
        .where('device_id', '=', deviceId)
        .where('first_used_at', 'is not', null)
        .orderBy('issued_at', 'desc')
        .executeTakeFirst();
      const renewalDue =
        !used ||
        used.authority !== authorities.current().number ||
        at >= used.issued_at + (used.expires_at - used.issued_at) * RENEW_AT;
      return { renewalDue, authorities: trusted() };
    },
  };
}
