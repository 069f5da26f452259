import { Type } from 'typebox';
import { DeviceCertificate, signRenewal } from '@drover/shared/protocol';
import { occasionalSigner, type KeyPair } from '@drover/shared/trust';
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

const Status = Type.Object({ renewalDue: Type.Boolean(), authorities: Type.Array(Type.String(), { maxItems: 100 }) });
const Renewed = Type.Object({ deviceId: Type.String(), ...DeviceCertificate.properties });

/**
 * Whether this device needs another certificate, by the control plane's word, since its clock is the better one (docs/protocol.md, section 7). A
 * certificate that it does not take any more needs to be replaced too.
 *
 * @throws IdentityError ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID
 */
export async function isRenewalDue({ identity, fetch }: Pick<RenewalOptions, 'identity' | 'fetch'>): Promise<boolean> {
  const url = `${identity.controlPlaneUrl}/api/v1/device/certificate`;
  try {
    const { renewalDue, authorities } = await exchange({ url, answer: Status, fetch });
    const known = identity.grant.identity.authorities;
    return renewalDue || authorities.length !== known.length || authorities.some((each) => !known.includes(each));
  } catch (error) {
    if (error instanceof IdentityError && error.code === 'ENROLMENT_REFUSED') return true;
    throw error;
  }
}

/**
 * Asks for a certificate with the device's key alone, which works as well when the old certificate has run out, and stores the answer.
 *
 * @throws IdentityError IDENTITY_REVOKED, ENROLMENT_REFUSED, ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID
 */
export async function renewCertificate(options: RenewalOptions): Promise<Identity> {
  const { dataDir, identity, deviceKey, agentVersion, nowMs, fetch } = options;
  const { deviceId } = identity.grant;
  const url = `${identity.controlPlaneUrl}/api/v1/certificate-renewals`;
  const body = signRenewal(
    { protocol: 1, kind: 'renewal', deviceId, agentVersion, at: Math.max(0, Math.round(nowMs)) },
    occasionalSigner(deviceKey),
  );
  const { certificate, authorities, deviceId: named } = await exchange({ url, body, answer: Renewed, fetch });
  if (named !== deviceId) throw invalidAnswer(url, `it is for "${named.slice(0, 64)}"`);
  const renewed: Identity = { ...identity, grant: { ...identity.grant, identity: { certificate, authorities } } };
  await saveIdentity(dataDir, renewed);
  return renewed;
}
