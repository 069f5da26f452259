import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import type { KeyId } from '../../ids/index.js';
import { toVerifyKey, type KeySet, type PublicKey } from '../keys.js';
import { canonicalBytes } from './canonical.js';
import { entryOf, type RoleKeys, type TufKey } from './documents.js';

const MIN_RSA_BITS = 2048;

/** Section 4.2.1: "a hexdigest of the SHA-256 hash of the canonical form of the key". Not Drover's own key id (docs/protocol.md, section 2). */
export const tufKeyId = (key: TufKey): string => createHash('sha256').update(canonicalBytes(key)).digest('hex');

/** A Drover key as TUF writes it. */
export const toTufKey = ({ publicKey }: Pick<PublicKey, 'publicKey'>): TufKey => ({
  keytype: 'ed25519',
  scheme: 'ed25519',
  keyval: { public: publicKey },
});

/** Section 4.2.2: the three pairs of key type and scheme, each held to its form, so that no key is taken for one of another kind. */
const SCHEMES: Readonly<Record<string, (material: string) => KeyObject | undefined>> = {
  'ed25519 ed25519': (material) => (/^[0-9a-f]{64}$/i.test(material) ? toVerifyKey(material) : undefined),
  'ecdsa ecdsa-sha2-nistp256': (material) => {
    const key = pemKey(material, 'ec');
    return key?.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : undefined;
  },
  'rsa rsassa-pss-sha256': (material) => {
    const key = pemKey(material, 'rsa');
    return (key?.asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS ? key : undefined;
  },
};

function pemKey(material: string, type: 'ec' | 'rsa'): KeyObject | undefined {
  if (!material.startsWith('-----BEGIN PUBLIC KEY-----')) return undefined;
  try {
    const key = createPublicKey(material);
    return key.asymmetricKeyType === type ? key : undefined;
  } catch {
    // A key that cannot be read signs nothing. It is no error: the threshold may be met by the others.
    return undefined;
  }
}

/** What makes two keys the same one, whatever ids and extra attributes they carry. Undefined for a key that cannot be used. */
export function keyFingerprint(key: TufKey): string | undefined {
  const spki = SCHEMES[`${key.keytype} ${key.scheme}`]?.(key.keyval.public)?.export({ format: 'der', type: 'spki' });
  return spki === undefined ? undefined : createHash('sha256').update(spki).digest('hex');
}

/** The Ed25519 keys of a role as a set for DSSE envelopes (docs/protocol.md, section 2). The threshold stays; keys of other types are left out. */
export function toKeySet({ keyids, threshold }: RoleKeys, keys: Readonly<Record<string, TufKey>>): KeySet {
  const publicKeys = keyids
    .map((keyId) => entryOf(keys, keyId))
    .filter((key) => key?.keytype === 'ed25519' && keyFingerprint(key) !== undefined)
    .map((key) => key?.keyval.public.toLowerCase() ?? '');
  return {
    threshold,
    keys: [...new Set(publicKeys)].map((publicKey) => ({
      keyId: createHash('sha256').update(Buffer.from(publicKey, 'hex')).digest('hex') as KeyId,
      algorithm: 'ed25519',
      publicKey,
    })),
  };
}
