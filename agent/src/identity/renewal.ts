import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import { DeviceCertificate, signReadmission, signRenewal } from '@drover/shared/protocol';
import { occasionalSigner, publicKeyOf, type KeyPair } from '@drover/shared/trust';
import type { HttpFetch } from '../link/index.js';
import { IdentityError } from './errors.js';
import { exchange, invalidAnswer } from './exchange.js';
import { saveIdentity, type Identity } from './identity.js';

export interface RenewalOptions {
  readonly dataDir: string;
  readonly identity: Identity;
  readonly deviceKey: KeyPair;
  readonly agentVersion: string;
  readonly nowMs: number;
  readonly fetch: HttpFetch;
}

/** A reason to renew: this certificate lets the device in nowhere. */
export const REASON_REFUSED = 'certificate refused';

const Status = Type.Object({ renewalDue: Type.Boolean(), authorities: Type.Array(Type.String(), { maxItems: 100 }) });
const Renewed = Type.Object({ deviceId: Type.String(), ...DeviceCertificate.properties });

/**
 * Why this device needs another certificate, by the control plane's word, since its clock is the better one (docs/protocol.md, section 7); undefined where it does not. A
 * certificate that it does not take any more needs to be replaced too. The same text again is the same reason.
 *
 * @throws IdentityError ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID
 */
export async function renewalReason({
  identity,
  fetch,
}: Pick<RenewalOptions, 'identity' | 'fetch'>): Promise<string | undefined> {
  const url = `${identity.controlPlaneUrl}/api/v1/device/certificate`;
  try {
    const { renewalDue, authorities } = await exchange({ url, answer: Status, fetch });
    const known = identity.grant.identity.authorities;
    const areOthers = authorities.length !== known.length || authorities.some((each) => !known.includes(each));
    return renewalDue || areOthers ? JSON.stringify({ renewalDue, authorities }) : undefined;
  } catch (error) {
    if (error instanceof IdentityError && error.code === 'ENROLMENT_REFUSED') return REASON_REFUSED;
    throw error;
  }
}

/**
 * Asks for a certificate with the device's key alone, which works as well when the old certificate has run out, and stores the answer. A control
 * plane that does not know this device any more is shown the old certificate: it was restored from a backup, and may take it for proof.
 *
 * @throws IdentityError IDENTITY_REVOKED, ENROLMENT_REFUSED, ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID
 */
export async function renewCertificate(options: RenewalOptions): Promise<Identity> {
  const { dataDir, identity, fetch } = options;
  const { deviceId } = identity.grant;
  const ask = (path: string, body: Uint8Array) => {
    const url = `${identity.controlPlaneUrl}/api/v1/${path}`;
    return exchange({ url, body, answer: Renewed, fetch }).then((answer) => {
      if (answer.deviceId !== deviceId) throw invalidAnswer(url, `it is for "${answer.deviceId.slice(0, 64)}"`);
      return answer;
    });
  };
  const { certificate, authorities } = await ask('certificate-renewals', renewalRequest(options)).catch(
    (error: unknown) => {
      if (!(error instanceof IdentityError && error.code === 'IDENTITY_UNKNOWN')) throw error;
      return ask('readmissions', readmissionRequest(options));
    },
  );
  const renewed: Identity = { ...identity, grant: { ...identity.grant, identity: { certificate, authorities } } };
  await saveIdentity(dataDir, renewed);
  return renewed;
}

const renewalRequest = ({ identity, deviceKey, agentVersion, nowMs }: RenewalOptions): Buffer =>
  signRenewal(
    { protocol: 1, kind: 'renewal', deviceId: identity.grant.deviceId, agentVersion, at: wholeMs(nowMs) },
    occasionalSigner(deviceKey),
  );

/** docs/protocol.md, section 7, step 11. */
function readmissionRequest({ identity, deviceKey, agentVersion, nowMs }: RenewalOptions): Buffer {
  const { grant, hardwareClass, attributes } = identity;
  const { deviceId, credential } = grant;
  return signReadmission(
    {
      protocol: 1,
      kind: 'readmission',
      deviceId,
      publicKey: publicKeyOf(deviceKey),
      certificate: grant.identity.certificate,
      ...(credential === undefined ? {} : { credentialHash: createHash('sha256').update(credential).digest('hex') }),
      hardwareClass,
      attributes,
      agentVersion,
      at: wholeMs(nowMs),
    },
    occasionalSigner(deviceKey),
  );
}

const wholeMs = (ms: number): number => Math.max(0, Math.round(ms));
