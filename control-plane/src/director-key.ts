import { existsSync, readFileSync, renameSync } from 'node:fs';
import { createKeyPair, parseKeyPair, TrustError, type KeyPair } from '@drover/shared/trust';
import { parseJsonBytes } from '@drover/shared/validation';
import { createSecretFile } from './secret-file.js';
import { StartError } from './start-errors.js';

/**
 * The director's signing key, made at the first start. Devices pin its public half at enrolment: a new key would strand every one of them, so
 * it is never replaced silently.
 *
 * @throws StartError DIRECTOR_KEY_MISSING when devices have enrolled already; TrustError KEY_MALFORMED
 */
export function loadDirectorKey(file: string, enrolledDevices: number): KeyPair {
  if (existsSync(file)) {
    const damaged = (why: string, cause: unknown) =>
      new TrustError('KEY_MALFORMED', `The director's key cannot be read: ${why}.`, {
        where: file,
        remedy: 'Restore the whole data directory from one backup: database, files and key belong together.',
        cause,
      });
    return parseKeyPair(parseJsonBytes(readFileSync(file), damaged));
  }
  if (enrolledDevices > 0) {
    throw new StartError(
      'DIRECTOR_KEY_MISSING',
      `The director's key is gone, and ${enrolledDevices} devices trust no other.`,
      {
        where: file,
        remedy:
          'Restore the whole data directory from one backup. Without one, start once with --new-director-key: the holders of the root keys then vouch for it.',
      },
    );
  }
  return createDirectorKey(file);
}

/**
 * A new key in place of one that was stolen or lost. The old one is kept aside. Devices believe the new one only after a recovery
 * (docs/protocol.md, section 11).
 */
export function replaceDirectorKey(file: string, nowMs: number): KeyPair {
  if (existsSync(file)) renameSync(file, `${file}.replaced-${new Date(nowMs).toISOString().replaceAll(':', '-')}`);
  return createDirectorKey(file);
}

function createDirectorKey(file: string): KeyPair {
  const key = createKeyPair('director');
  createSecretFile(file, `${JSON.stringify(key, undefined, 2)}\n`);
  return key;
}
