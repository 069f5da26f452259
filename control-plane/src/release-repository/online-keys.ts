import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  createKeyPair,
  parseKeyPair,
  publicKeyOf,
  TrustError,
  type KeyPair,
  type PublicKey,
} from '@drover/shared/trust';
import { tufSigner, type TufSigner } from '@drover/shared/trust/tuf';
import { parseJsonBytes } from '@drover/shared/validation';
import { createSecretFile } from '../secret-file.js';

/**
 * The control plane's own keys, which sign timestamp and snapshot. They vouch for freshness and consistency alone: no device runs anything because of
 * them. Root says which of them count.
 */
export interface OnlineKeys {
  /** Public halves, oldest first. The last is the one that a new root should name. */
  list(): readonly PublicKey[];
  /** Makes a new key beside the old ones; it counts from the root on that names it. */
  create(): PublicKey;
  /** A signer for one of these key ids of TUF, the newest first. */
  signerAmong(tufKeyIds: readonly string[]): TufSigner | undefined;
}

/** `0001.key`, `0002.key`, …: mode 0600, like the director's key. @throws TrustError KEY_MALFORMED */
export function openOnlineKeys(directory: string): OnlineKeys {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const names = readdirSync(directory)
    .filter((name) => /^\d{4}\.key$/.test(name))
    .sort();
  const pairs: KeyPair[] = names.map((name) => readKey(join(directory, name)));
  let nextNumber = Number(names.at(-1)?.slice(0, 4) ?? 0) + 1;

  function create(): PublicKey {
    const pair = createKeyPair('online');
    createSecretFile(
      join(directory, `${String(nextNumber).padStart(4, '0')}.key`),
      `${JSON.stringify(pair, undefined, 2)}\n`,
    );
    nextNumber += 1;
    pairs.push(pair);
    return publicKeyOf(pair);
  }

  if (pairs.length === 0) create();
  return {
    list: () => pairs.map(publicKeyOf),
    create,
    signerAmong: (tufKeyIds) =>
      pairs
        .map(tufSigner)
        .reverse()
        .find(({ keyId }) => tufKeyIds.includes(keyId)),
  };
}

function readKey(file: string): KeyPair {
  const damaged = (why: string, cause: unknown) =>
    new TrustError('KEY_MALFORMED', `An online key of the release repository cannot be read: ${why}.`, {
      where: file,
      remedy:
        'Restore the file from a backup, or move it away and name another key in a new root (`drover keys rotate online`).',
      cause,
    });
  return parseKeyPair(parseJsonBytes(readFileSync(file), damaged));
}
