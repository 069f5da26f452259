import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import type { DeviceId } from '@drover/shared/ids';
import { EnrolmentGrant } from '@drover/shared/protocol';
import { parseKeySet } from '@drover/shared/trust';
import { verifyPinnedRoot } from './pinned-root.js';
import { formatProblems, validate } from '@drover/shared/validation';
import { systemCode, writeDurably } from '../host/index.js';
import { IdentityError } from './errors.js';

/** What enrolment leaves on the device: who it is, whom it talks to, and whom it believes. */
export const Identity = Type.Object(
  {
    format: Type.Literal('drover.identity/1'),
    /** Without a trailing slash. */
    controlPlaneUrl: Type.String({ minLength: 1 }),
    hardwareClass: Type.String({ minLength: 1, maxLength: 64 }),
    attributes: Type.Record(Type.String(), Type.String()),
    /** The root.json whose holders decide whose releases this device runs: from a file of the operator, never taken from the control plane. */
    pinnedRoot: Type.String({ minLength: 2, maxLength: 131_072 }),
    /** Whether, over TLS, the authorities that the system brings count beside those of the grant: by how the server proved itself at enrolment. */
    serverTrust: Type.Union([Type.Literal('authorities'), Type.Literal('system')]),
    /** Certificates of the operator's authority, PEM, as the device was given them at enrolment. */
    ca: Type.Optional(Type.String({ maxLength: 200_000 })),
    grant: EnrolmentGrant,
  },
  { additionalProperties: false },
);
export type Identity = Static<typeof Identity>;

export const deviceIdOf = (identity: Identity): DeviceId => identity.grant.deviceId;

const identityFile = (dataDir: string): string => join(dataDir, 'identity.json');

/** @throws IdentityError IDENTITY_NOT_ENROLLED, IDENTITY_DAMAGED; TufError TUF_ANCHOR_INVALID */
export async function loadIdentity(dataDir: string): Promise<Identity> {
  const file = identityFile(dataDir);
  const damaged = (why: string, cause?: unknown) =>
    new IdentityError('IDENTITY_DAMAGED', `The identity of this device cannot be read: ${why}.`, {
      where: file,
      remedy: 'Restore the file from a backup, or enrol again with a new claim token (`drover-agent enrol`).',
      cause,
    });
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw damaged((error as Error).message, error);
    throw new IdentityError('IDENTITY_NOT_ENROLLED', 'This device is not enrolled.', {
      where: file,
      remedy: 'Get a claim token from an operator and run `drover-agent enrol`.',
      cause: error,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw damaged('it is not JSON', cause);
  }
  const identity = validate(Identity, json, (problems) => damaged(formatProblems(problems)));
  verifyPinnedRoot(Buffer.from(identity.pinnedRoot));
  parseKeySet(identity.grant.director);
  return identity;
}

/** Mode 0600: the file holds the device's credential. */
export async function saveIdentity(dataDir: string, identity: Identity): Promise<void> {
  await writeDurably(identityFile(dataDir), `${JSON.stringify(identity)}\n`, 0o600);
}
