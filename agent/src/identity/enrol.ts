import { mkdir } from 'node:fs/promises';
import { Type } from 'typebox';
import type { DeviceId } from '@drover/shared/ids';
import { EnrolmentGrant, signEnrolment } from '@drover/shared/protocol';
import { occasionalSigner, parseKeySet, publicKeyOf, type KeySet } from '@drover/shared/trust';
import { formatProblems, validate } from '@drover/shared/validation';
import type { Clock } from '../host/index.js';
import { loadOrCreateDeviceKey } from './device-key.js';
import { IdentityError } from './errors.js';
import { saveIdentity, type Identity } from './identity.js';

export interface EnrolOptions {
  /** For example https://drover.example.org */
  readonly controlPlaneUrl: string;
  readonly claimToken: string;
  readonly deviceId: DeviceId;
  readonly hardwareClass: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Pinned from now on. */
  readonly publisherKeys: KeySet;
  readonly agentVersion: string;
  /** Made when it does not exist. */
  readonly dataDir: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly fetch?: typeof fetch;
}

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024;

const Refusal = Type.Object({
  error: Type.Object({ code: Type.String(), what: Type.String(), remedy: Type.String() }),
});

/**
 * Presents the device's key and a claim token to the control plane (docs/protocol.md, section 7) and stores the grant. The key is made and
 * stored first, so that a repeated attempt presents the same key.
 *
 * @throws IdentityError ENROLMENT_REFUSED with the server's words, ENROLMENT_UNREACHABLE, ENROLMENT_ANSWER_INVALID, IDENTITY_MISMATCH
 */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { dataDir, deviceId, hardwareClass } = options;
  const attributes = { ...options.attributes };
  const controlPlaneUrl = options.controlPlaneUrl.replace(/\/+$/, '');
  const publisherKeys = parseKeySet(options.publisherKeys);
  await mkdir(dataDir, { recursive: true });
  const key = await loadOrCreateDeviceKey(dataDir);
  const request = signEnrolment(
    {
      protocol: 1,
      kind: 'enrolment',
      claimToken: options.claimToken,
      deviceId,
      publicKey: publicKeyOf(key),
      hardwareClass,
      attributes,
      agentVersion: options.agentVersion,
      at: options.clock.now(),
    },
    occasionalSigner(key),
  );
  const grant = await requestGrant(`${controlPlaneUrl}/api/v1/enrolments`, request, options.fetch ?? fetch);
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
    attributes,
    publisherKeys,
    grant,
  };
  await saveIdentity(dataDir, identity);
  return identity;
}

async function requestGrant(url: string, body: Buffer, request: typeof fetch): Promise<EnrolmentGrant> {
  let status: number;
  let text: string;
  try {
    const response = await request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    status = response.status;
    text = await readBounded(response);
  } catch (cause) {
    if (cause instanceof IdentityError) throw cause;
    throw new IdentityError('ENROLMENT_UNREACHABLE', `The control plane does not answer: ${reasonOf(cause)}.`, {
      where: url,
      remedy:
        'Check the address, the network and whether the control plane runs; then enrol again. If it says that the claim token was spent, make a new one.',
      cause,
    });
  }
  if (status >= 500) {
    throw new IdentityError(
      'ENROLMENT_UNREACHABLE',
      `The control plane failed with status ${status}: ${text.slice(0, 500)}`,
      {
        where: url,
        remedy:
          'Look at the log of the control plane; then enrol again. If it says that the claim token was spent, make a new one.',
      },
    );
  }
  const json = parseJson(text, url);
  if (status !== 201 && status !== 200) throw refusal(status, json, url);
  const grant = validate(EnrolmentGrant, json, (problems) => invalidAnswer(url, formatProblems(problems)));
  parseKeySet(grant.director);
  return grant;
}

function refusal(status: number, json: unknown, url: string): IdentityError {
  const { error } = validate(Refusal, json, () => invalidAnswer(url, `status ${status} without a reason`));
  return new IdentityError('ENROLMENT_REFUSED', `The control plane refused (${error.code}): ${error.what}`, {
    where: url,
    remedy: error.remedy,
  });
}

const invalidAnswer = (url: string, why: string, cause?: unknown) =>
  new IdentityError('ENROLMENT_ANSWER_INVALID', `The answer is not that of a control plane: ${why}.`, {
    where: url,
    remedy: 'Check the address; a proxy or another server may answer there.',
    cause,
  });

function parseJson(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer(url, 'it is not JSON', cause);
  }
}

async function readBounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > MAX_ANSWER_BYTES) throw invalidAnswer(response.url, `it exceeds ${MAX_ANSWER_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** undici says only "fetch failed"; the reason is its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== '' ? error.cause.message : error.message;
}
