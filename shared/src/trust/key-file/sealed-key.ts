import { createCipheriv, createDecipheriv, randomBytes, scrypt, type ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import { Type, type Static } from 'typebox';
import type { KeyId } from '../../ids/index.js';
import { formatProblems, validate } from '../../validation/index.js';
import { TrustError } from '../errors.js';
import { keyIdOf, keyPairFromSeed, parseKeyPair, type KeyPair } from '../keys.js';

const strict = { additionalProperties: false } as const;
const hex = (bytes: number) => Type.String({ pattern: `^[0-9a-f]{${bytes * 2}}$` });

/** How hard it is to try passphrases: scrypt (RFC 7914) with 128 MiB for each attempt. */
export const SEALING_COST = { cost: 2 ** 17, blockSize: 8, parallelization: 1 } as const;
/** A file from outside may not ask for more memory than this. */
const MAX_SCRYPT_BYTES = 512 * 1024 ** 2;
/** Enough for words or a random string; what is guessed in an hour is refused at the door. */
export const MIN_PASSPHRASE_CHARACTERS = 10;

/**
 * A private key that a passphrase protects: the seed under AES-256-GCM with a key from scrypt. The header is authenticated with it, so that neither
 * the name nor the cost can be exchanged unseen.
 */
export const SealedKey = Type.Object(
  {
    format: Type.Literal('drover.sealed-key/1'),
    keyId: Type.Unsafe<KeyId>(hex(32)),
    algorithm: Type.Literal('ed25519'),
    publicKey: hex(32),
    name: Type.Optional(Type.String({ maxLength: 100 })),
    sealed: Type.Object(
      {
        kdf: Type.Literal('scrypt'),
        /** N of RFC 7914: a power of two. */
        cost: Type.Integer({ minimum: 2 ** 14, maximum: 2 ** 20 }),
        blockSize: Type.Integer({ minimum: 1, maximum: 32 }),
        parallelization: Type.Integer({ minimum: 1, maximum: 16 }),
        salt: hex(32),
        cipher: Type.Literal('aes-256-gcm'),
        nonce: hex(12),
        /** Ciphertext of the 32 bytes and its tag of 16. */
        box: hex(48),
      },
      strict,
    ),
  },
  strict,
);
export type SealedKey = Static<typeof SealedKey>;
/** What lies in a key file: sealed, or in the clear for development and for machines that sign by themselves. */
export type KeyFile = SealedKey | KeyPair;

export const isSealed = (file: KeyFile): file is SealedKey => file.format === 'drover.sealed-key/1';

const malformed = (what: string, cause?: unknown) =>
  new TrustError('KEY_MALFORMED', what, {
    remedy: 'Make a key with `drover keys create`, and copy the file whole.',
    cause,
  });

/** The public half can be read without the passphrase. @throws TrustError KEY_MALFORMED */
export function parseKeyFile(json: unknown): KeyFile {
  if ((json as { format?: unknown } | null)?.format !== 'drover.sealed-key/1') return parseKeyPair(json);
  const file = validate(SealedKey, json, (problems) => malformed(`This is no key file: ${formatProblems(problems)}.`));
  if (keyIdOf(file.publicKey) !== file.keyId)
    throw malformed(`Key ${file.keyId} does not carry the public key that it names.`);
  const { cost, blockSize, parallelization } = file.sealed;
  if (!Number.isInteger(Math.log2(cost))) throw malformed(`The cost ${cost} is no power of two.`);
  if (128 * blockSize * (cost + parallelization) > MAX_SCRYPT_BYTES)
    throw malformed('Opening this key would take more than 512 MiB of memory.');
  return file;
}

/** @throws TrustError KEY_PASSPHRASE_WEAK */
export async function sealKey(
  pair: KeyPair,
  passphrase: string,
  cost: { cost: number; blockSize: number; parallelization: number } = SEALING_COST,
): Promise<SealedKey> {
  if ([...passphrase].length < MIN_PASSPHRASE_CHARACTERS) {
    throw new TrustError(
      'KEY_PASSPHRASE_WEAK',
      `The passphrase has fewer than ${MIN_PASSPHRASE_CHARACTERS} characters.`,
      {
        remedy: 'Choose a longer one: whoever finds the file can try passphrases for years.',
      },
    );
  }
  const { keyId, algorithm, publicKey, name, seed } = pair;
  const header = { keyId, algorithm, publicKey, ...(name === undefined ? {} : { name }) };
  const sealed = {
    kdf: 'scrypt',
    ...cost,
    salt: randomBytes(32).toString('hex'),
    cipher: 'aes-256-gcm',
    nonce: randomBytes(12).toString('hex'),
  } as const;
  const file = { format: 'drover.sealed-key/1', ...header, sealed } as const;
  const cipher = createCipheriv('aes-256-gcm', await derive(passphrase, sealed), Buffer.from(sealed.nonce, 'hex'));
  cipher.setAAD(authenticated(file));
  const box = Buffer.concat([cipher.update(Buffer.from(seed, 'hex')), cipher.final(), cipher.getAuthTag()]);
  return { ...file, sealed: { ...sealed, box: box.toString('hex') } };
}

/** @throws TrustError KEY_PASSPHRASE_WRONG */
export async function openKeyFile(file: SealedKey, passphrase: string): Promise<KeyPair> {
  const { sealed, name } = file;
  const box = Buffer.from(sealed.box, 'hex');
  const decipher = createDecipheriv('aes-256-gcm', await derive(passphrase, sealed), Buffer.from(sealed.nonce, 'hex'));
  decipher.setAAD(authenticated(file));
  decipher.setAuthTag(box.subarray(32));
  let seed: Buffer;
  try {
    seed = Buffer.concat([decipher.update(box.subarray(0, 32)), decipher.final()]);
  } catch (cause) {
    throw new TrustError('KEY_PASSPHRASE_WRONG', `The passphrase does not open key ${file.keyId.slice(0, 12)}….`, {
      remedy: 'Type it again. If it is right, the file was changed or damaged: take a copy of it.',
      cause,
    });
  }
  return parseKeyPair(keyPairFromSeed(seed, name));
}

/** Everything that stands in the clear, in a fixed order. */
const authenticated = ({
  format,
  keyId,
  algorithm,
  publicKey,
  name,
  sealed,
}: Omit<SealedKey, 'sealed'> & { sealed: Omit<SealedKey['sealed'], 'box'> }): Buffer =>
  Buffer.from(
    JSON.stringify([
      format,
      keyId,
      algorithm,
      publicKey,
      name ?? null,
      ...[sealed.kdf, sealed.cost, sealed.blockSize, sealed.parallelization, sealed.salt, sealed.cipher, sealed.nonce],
    ]),
  );

const scryptKey = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

/** NFKC: the same words from another keyboard or system are the same passphrase. */
const derive = (passphrase: string, { cost, blockSize, parallelization, salt }: Omit<SealedKey['sealed'], 'box'>) =>
  scryptKey(passphrase.normalize('NFKC'), Buffer.from(salt, 'hex'), 32, {
    cost,
    blockSize,
    parallelization,
    maxmem: MAX_SCRYPT_BYTES + 1024 ** 2,
  });
