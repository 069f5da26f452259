import { constants, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { TufKey } from '../documents.js';
import { toTufKey, tufKeyId } from '../keys.js';
import type { TufSigner } from '../signatures.js';

export type KeyType = 'ed25519' | 'ecdsa' | 'rsa';

/** A real key of each kind that TUF 1.0, section 4.2.2, defines. */
const MAKERS: Readonly<Record<KeyType, () => TufSigner>> = {
  // Made by node:crypto, which is some forty times faster than tweetnacl: a test makes many.
  ed25519: () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex');
    return signerOf(toTufKey({ publicKey: raw }), (message) => sign(null, message, privateKey));
  },
  ecdsa: () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return signerOf(
      { keytype: 'ecdsa', scheme: 'ecdsa-sha2-nistp256', keyval: { public: pem(publicKey) } },
      (message) => sign('sha256', message, privateKey),
    );
  },
  rsa: () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    return signerOf({ keytype: 'rsa', scheme: 'rsassa-pss-sha256', keyval: { public: pem(publicKey) } }, (message) =>
      sign('sha256', message, key),
    );
  },
};

export const createSigner = (type: KeyType = 'ed25519'): TufSigner => MAKERS[type]();

const pem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString();

export const signerOf = (key: TufKey, signMessage: (message: Uint8Array) => Uint8Array): TufSigner => ({
  keyId: tufKeyId(key),
  key,
  sign: signMessage,
});
