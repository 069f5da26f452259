import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createKeyPair, parseKeyPair, type KeyPair } from '@drover/shared/trust';
import { systemCode, writeDurably } from '../host/index.js';
import { IdentityError } from './errors.js';

const keyFile = (dataDir: string): string => join(dataDir, 'device-key.json');

/**
 * The Ed25519 key of this device. It is made here on the first call and never leaves the file, which only its owner can read (mode 0600).
 *
 * @throws IdentityError IDENTITY_DAMAGED when the file exists but holds no key; HostError when it cannot be written
 */
export async function loadOrCreateDeviceKey(dataDir: string): Promise<KeyPair> {
  const file = keyFile(dataDir);
  try {
    await stat(file);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw damaged(file, error);
    const key = createKeyPair('device');
    await writeDurably(file, `${JSON.stringify(key)}\n`, 0o600);
    return key;
  }
  return loadDeviceKey(dataDir);
}

/**
 * The key that this device enrolled with. A new one in its place would sign reports that nobody believes.
 *
 * @throws IdentityError IDENTITY_DAMAGED when the file is missing or holds no key
 */
export async function loadDeviceKey(dataDir: string): Promise<KeyPair> {
  const file = keyFile(dataDir);
  try {
    return parseKeyPair(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw damaged(file, cause);
  }
}

function damaged(file: string, cause: unknown): IdentityError {
  return new IdentityError('IDENTITY_DAMAGED', 'The key of this device cannot be read.', {
    where: file,
    remedy: 'Restore the file from a backup, or move it and identity.json away and enrol again with a new claim token.',
    cause,
  });
}
