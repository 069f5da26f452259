import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import nacl from 'tweetnacl';
import { Type, type Static } from 'typebox';
import type { KeyId } from '../ids/index.js';
import { formatProblems, validate } from '../validation/index.js';
import { TrustError } from './errors.js';

const hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });

/** An Ed25519 public key (RFC 8032): 32 bytes in lower-case hex. The key id is the SHA-256 of those bytes, so it can't be chosen. */
export const PublicKey = Type.Object(
  { keyId: Type.Unsafe<KeyId>(hex32), algorithm: Type.Literal('ed25519'), publicKey: hex32 },
  { additionalProperties: false },
);
export type PublicKey = Static<typeof PublicKey>;

/** A set of keys of which `threshold` distinct ones must have signed. */
export const KeySet = Type.Object(
  {
    threshold: Type.Integer({ minimum: 1, maximum: 100 }),
    keys: Type.Array(PublicKey, { minItems: 1, maxItems: 100 }),
  },
  { additionalProperties: false },
);
export type KeySet = Static<typeof KeySet>;

/** A private key as it lies in a file: the 32-byte seed in hex beside its public half. */
export const KeyPair = Type.Object(
  {
    format: Type.Literal('drover.key/1'),
    keyId: Type.Unsafe<KeyId>(hex32),
    algorithm: Type.Literal('ed25519'),
    publicKey: hex32,
    seed: hex32,
    name: Type.Optional(Type.String({ maxLength: 100 })),
  },
  { additionalProperties: false },
);
export type KeyPair = Static<typeof KeyPair>;

export const keyIdOf = (publicKeyHex: string): KeyId =>
  createHash('sha256').update(Buffer.from(publicKeyHex, 'hex')).digest('hex') as KeyId;

export function keyPairFromSeed(seed: Uint8Array, name?: string): KeyPair {
  const publicKey = Buffer.from(nacl.sign.keyPair.fromSeed(seed).publicKey).toString('hex');
  return {
    format: 'drover.key/1',
    keyId: keyIdOf(publicKey),
    algorithm: 'ed25519',
    publicKey,
    seed: Buffer.from(seed).toString('hex'),
    ...(name === undefined ? {} : { name }),
  };
}

export const createKeyPair = (name?: string): KeyPair => keyPairFromSeed(nacl.randomBytes(32), name);

export const publicKeyOf = ({ keyId, algorithm, publicKey }: KeyPair): PublicKey => ({ keyId, algorithm, publicKey });

const malformed = (what: string, cause?: unknown) =>
  new TrustError('KEY_MALFORMED', what, {
    remedy: 'Make a key with `drover keys create`, and copy the file whole.',
    cause,
  });

function parseKeyDocument<Parsed>(read: () => Parsed, keysOf: (parsed: Parsed) => readonly PublicKey[]): Parsed {
  const parsed = read();
  for (const key of keysOf(parsed)) {
    if (keyIdOf(key.publicKey) !== key.keyId)
      throw malformed(`Key ${key.keyId} does not carry the public key that it names.`);
  }
  return parsed;
}

/** @throws TrustError KEY_MALFORMED */
export function parseKeyPair(json: unknown): KeyPair {
  const pair = parseKeyDocument(
    () => validate(KeyPair, json, (problems) => malformed(`This is no key file: ${formatProblems(problems)}.`)),
    (key) => [publicKeyOf(key)],
  );
  if (keyPairFromSeed(Buffer.from(pair.seed, 'hex')).publicKey !== pair.publicKey) {
    throw malformed(`The two halves of key ${pair.keyId} do not belong together.`);
  }
  return pair;
}

/** @throws TrustError KEY_MALFORMED, also when the threshold exceeds the number of distinct keys. */
export function parseKeySet(json: unknown): KeySet {
  const set = parseKeyDocument(
    () =>
      validate(KeySet, json, (problems) => malformed(`This is no set of public keys: ${formatProblems(problems)}.`)),
    (keys) => keys.keys,
  );
  const distinct = new Set(set.keys.map((key) => key.keyId)).size;
  if (set.threshold > distinct)
    throw malformed(`The threshold ${set.threshold} exceeds the ${distinct} keys of the set.`);
  return set;
}

/** DER prefix of a SubjectPublicKeyInfo for Ed25519 (RFC 8410, section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** DER prefix of a PKCS #8 Ed25519 private key (RFC 8410, section 7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export const toVerifyKey = (publicKeyHex: string): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI_PREFIX, Buffer.from(publicKeyHex, 'hex')]), format: 'der', type: 'spki' });

export const toSigningKey = (seedHex: string): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, Buffer.from(seedHex, 'hex')]), format: 'der', type: 'pkcs8' });
