import { mkdir } from 'node:fs/promises';
import type { DeviceId } from '@drover/shared/ids';
import { EnrolmentGrant, GRANT_READS_HEADER, parseClaimToken, signEnrolment } from '@drover/shared/protocol';
import { occasionalSigner, parseKeySet, publicKeyOf } from '@drover/shared/trust';
import { BUILD_FLOOR_MS, timeToJudgeBy, type Clock } from '../host/index.js';
import { createChannel, isSecure, type HttpFetch } from '../link/index.js';
import { loadOrCreateDeviceKey } from './device-key.js';
import { IdentityError } from './errors.js';
import { exchange } from './exchange.js';
import { saveIdentity, type Identity } from './identity.js';
import type { Network } from './network.js';
import { verifyPinnedRoot } from './pinned-root.js';

export interface EnrolOptions {
  /** For example https://drover.example.org */
  readonly controlPlaneUrl: string;
  readonly claimToken: string;
  readonly deviceId: DeviceId;
  readonly hardwareClass: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The bytes of root.json; pinned from now on. */
  readonly pinnedRoot: Uint8Array;
  readonly agentVersion: string;
  /** Made when it does not exist. */
  readonly dataDir: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly network?: Network;
  /** In place of connections by `network`. */
  readonly fetch?: HttpFetch;
}

const NO_PROXY: Network = { proxy: { exceptions: [] } };

/**
 * Presents the device's key and a claim token to the control plane (docs/protocol.md, section 7) and stores the grant. The key is made and
 * stored first, so that a repeated attempt presents the same key.
 *
 * Over TLS the server proves itself by the authority that the claim token pins, else by the operator's file, else by those of the system.
 *
 * @throws IdentityError ENROLMENT_REFUSED with the server's words, ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID, IDENTITY_MISMATCH; TufError
 *   TUF_ANCHOR_INVALID
 */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { dataDir, deviceId, hardwareClass } = options;
  const attributes = { ...options.attributes };
  const controlPlaneUrl = options.controlPlaneUrl.replace(/\/+$/, '');
  verifyPinnedRoot(options.pinnedRoot);
  await mkdir(dataDir, { recursive: true });
  const key = await loadOrCreateDeviceKey(dataDir);
  const { secret, pin } = parseClaimToken(options.claimToken);
  const request = signEnrolment(
    {
      protocol: 1,
      kind: 'enrolment',
      claimToken: secret,
      deviceId,
      publicKey: publicKeyOf(key),
      hardwareClass,
      attributes,
      agentVersion: options.agentVersion,
      at: options.clock.now(),
    },
    occasionalSigner(key),
  );
  const { proxy, ca } = options.network ?? NO_PROXY;
  const hasOwnAnchor = pin !== undefined || ca !== undefined;
  const channel = createChannel({
    proxy,
    trust: () => ({ authorities: [], further: ca, system: !hasOwnAnchor, pin }),
    client: () => undefined,
    notBeforeMs: () => timeToJudgeBy(options.clock.now(), BUILD_FLOOR_MS),
  });
  const grant = await exchange({
    url: `${controlPlaneUrl}/api/v1/enrolments`,
    body: request,
    answer: EnrolmentGrant,
    headers: { [GRANT_READS_HEADER]: 'attributes' },
    fetch: options.fetch ?? channel.fetch,
  }).finally(() => channel.reset());
  parseKeySet(grant.director);
  if (grant.deviceId !== deviceId) {
    throw new IdentityError(
      'IDENTITY_MISMATCH',
      `The control plane answered for ${grant.deviceId}, not for ${deviceId}.`,
      {
        where: controlPlaneUrl,
        remedy: 'Check the address of the control plane, and enrol again with a new claim token.',
      },
    );
  }
  const identity: Identity = {
    format: 'drover.identity/1',
    controlPlaneUrl,
    hardwareClass,
    // The claim token's words win (docs/protocol.md, section 7): the device has to know at which site it stands.
    attributes: { ...attributes, ...grant.attributes },
    pinnedRoot: Buffer.from(options.pinnedRoot).toString('utf8'),
    serverTrust: isSecure(controlPlaneUrl) && !hasOwnAnchor ? 'system' : 'authorities',
    ...(ca === undefined ? {} : { ca }),
    grant,
  };
  await saveIdentity(dataDir, identity);
  return identity;
}
