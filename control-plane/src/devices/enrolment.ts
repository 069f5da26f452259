import type { DeviceId } from '@drover/shared/ids';
import { openEnrolment, parseClaimToken, type EnrolmentGrant, type EnrolmentRequest } from '@drover/shared/protocol';
import type { KeySet } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { audit, hashSecret, newSecret } from '../governance/index.js';
import type { DeviceCertificates } from './certificates.js';
import { DeviceError } from './errors.js';
import { storeDevice } from './store-device.js';

/** What every new device is told about its control plane. */
export interface EnrolmentFacts {
  readonly director: KeySet;
  /** The broker's address for a device that reached the control plane under this host name. */
  readonly brokerUrl: (reachedAs: string) => string;
  /** The epoch of orders in force; see docs/protocol.md, section 4. */
  readonly epoch: () => number;
  /** Whether a listener speaks no TLS, so that devices need a password there. */
  readonly offersCredential: boolean;
  /** Where the broker takes WebSockets on the address of the API; undefined with an external broker. */
  readonly websocketPath: string | undefined;
  /** What claim tokens pin: the authority that the device will meet. Undefined where our listener for HTTP proves another or none. */
  readonly pin: () => string | undefined;
}

export interface Enrolment {
  readonly envelope: Uint8Array;
  /** Host name in the address that the device used. */
  readonly reachedAs: string;
  /** Whether it takes its attributes in the grant; an older agent would refuse them. */
  readonly readsAttributes: boolean;
  /** Milliseconds since 1970, by our clock: the device's may say 1970. */
  readonly at: number;
}

export interface NewClaimToken {
  readonly attributes: Readonly<Record<string, string>>;
  readonly ttlMs: number;
  readonly uses: number;
  readonly createdBy: string;
  readonly at: number;
  /** The one device that may use it. */
  readonly deviceId?: DeviceId | undefined;
}

/** Accounts of the broker: a certificate with such a name would be taken for theirs (docs/protocol.md, section 1). */
const RESERVED_IDS: ReadonlySet<string> = new Set(['service']);

/** A token that lets `uses` devices enrol until it expires, and gives them its attributes. Shown once; only its hash is stored. */
export async function createClaimToken(
  db: Db,
  token: NewClaimToken,
  pin?: string,
): Promise<{ claimToken: string; expiresAt: number }> {
  const secret = newSecret('claim');
  const expiresAt = token.at + token.ttlMs;
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('claim_tokens')
      .values({
        token_hash: hashSecret(secret),
        attributes: JSON.stringify(token.attributes),
        expires_at: expiresAt,
        uses_left: token.uses,
        created_at: token.at,
        created_by: token.createdBy,
        device_id: token.deviceId ?? null,
      })
      .execute();
    await audit(trx).append({
      actor: token.createdBy,
      action: 'claim-token.create',
      subject: hashSecret(secret).slice(0, 12),
      detail: {
        attributes: token.attributes,
        expiresAt,
        uses: token.uses,
        ...(token.deviceId === undefined ? {} : { deviceId: token.deviceId }),
      },
      at: token.at,
    });
  });
  return { claimToken: pin === undefined ? secret : `${secret}.${pin}`, expiresAt };
}

/**
 * Enrols a device against a claim token (docs/protocol.md, section 7). The envelope is signed with the key that it presents. A device that
 * enrols again under its id must hold the same key; its old credential ends. The claim token's attributes win over the device's own words.
 *
 * @throws TrustError, ProtocolError if the proof does not hold; DeviceError CLAIM_TOKEN_*, DEVICE_ID_TAKEN, DEVICE_ID_RESERVED, DEVICE_REVOKED
 */
export async function enrolDevice(
  db: Db,
  { envelope, reachedAs, readsAttributes, at }: Enrolment,
  facts: EnrolmentFacts,
  certificates: DeviceCertificates,
): Promise<EnrolmentGrant> {
  const request = openEnrolment(envelope);
  const { deviceId, publicKey } = request;
  if (RESERVED_IDS.has(deviceId)) {
    throw new DeviceError('DEVICE_ID_RESERVED', `"${deviceId}" is the name of an account of the broker.`, {
      remedy: 'Give this device another id.',
    });
  }
  const credential = newSecret('device');
  const { identity, attributes } = await db.transaction().execute(async (trx) => {
    const claimed = await spendClaimToken(trx, request, at);
    const attributes = { ...request.attributes, ...claimed };
    await storeDevice(trx, { ...request, attributes, credentialHash: hashSecret(credential), at });
    await audit(trx).append({
      actor: request.deviceId,
      action: 'device.enrol',
      subject: request.deviceId,
      detail: {
        keyId: request.publicKey.keyId,
        hardwareClass: request.hardwareClass,
        agentVersion: request.agentVersion,
      },
      at,
    });
    return { attributes, identity: await certificates.issue(trx, { deviceId, publicKey, at }) };
  });
  const { director, brokerUrl, epoch, websocketPath } = facts;
  return {
    protocol: 1,
    deviceId,
    ...(readsAttributes ? { attributes } : {}),
    ...(facts.offersCredential ? { credential } : {}),
    identity,
    director,
    brokerUrl: brokerUrl(reachedAs),
    ...(websocketPath === undefined ? {} : { websocketPath }),
    epoch: epoch(),
  };
}

async function spendClaimToken(
  db: Db,
  { claimToken, deviceId }: EnrolmentRequest,
  at: number,
): Promise<Record<string, string>> {
  const another = { remedy: 'Get a new one with `drover device token create` and enrol again.' };
  const hash = hashSecret(parseClaimToken(claimToken).secret);
  const token = await db.selectFrom('claim_tokens').selectAll().where('token_hash', '=', hash).executeTakeFirst();
  if (!token) throw new DeviceError('CLAIM_TOKEN_UNKNOWN', 'This claim token is not known here.', another);
  if (at >= token.expires_at) {
    throw new DeviceError(
      'CLAIM_TOKEN_EXPIRED',
      `This claim token ended at ${new Date(token.expires_at).toISOString()}.`,
      another,
    );
  }
  if (token.device_id !== null && token.device_id !== deviceId) {
    throw new DeviceError('CLAIM_TOKEN_WRONG_DEVICE', `This claim token is for another device than "${deviceId}".`, {
      remedy: 'Set deviceId in the configuration of the device to the id that the token is for, or get another token.',
    });
  }
  const used = await db
    .selectFrom('claim_token_uses')
    .select('used_at')
    .where('token_hash', '=', hash)
    .where('device_id', '=', deviceId)
    .executeTakeFirst();
  if (used || token.uses_left <= 0)
    throw new DeviceError('CLAIM_TOKEN_SPENT', 'This claim token has been used up.', another);
  await db
    .updateTable('claim_tokens')
    .set({ uses_left: token.uses_left - 1 })
    .where('token_hash', '=', hash)
    .execute();
  await db.insertInto('claim_token_uses').values({ token_hash: hash, device_id: deviceId, used_at: at }).execute();
  return JSON.parse(token.attributes) as Record<string, string>;
}
