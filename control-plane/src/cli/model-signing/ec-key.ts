import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { preAuthenticationEncoding } from '@drover/shared/trust';
import { STATEMENT_PAYLOAD_TYPE, type SignatureBundle } from './bundle.js';
import { ModelSignatureError, untrusted } from './errors.js';

/** The curves of model signing and the hash that belongs to each (sigstore/model-transparency, `_signing/sign_ec_key.py`). */
const HASH_OF_CURVE: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
};

const hashFor = (key: KeyObject): string | undefined =>
  key.asymmetricKeyType === 'ec' ? HASH_OF_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ''] : undefined;

export const isSigningKey = (key: KeyObject): boolean => hashFor(key) !== undefined;

/** @throws ModelSignatureError MODEL_SIGNATURE_KEY_UNUSABLE */
export function readPublicKey(pem: Uint8Array, where: string): KeyObject {
  const unusable = (why: string, cause?: unknown) =>
    new ModelSignatureError('MODEL_SIGNATURE_KEY_UNUSABLE', `This is no key for model signing: ${why}.`, {
      where,
      remedy: 'Give an EC public key in PEM, on P-256, P-384 or P-521 (openssl ec -in KEY.pem -pubout).',
      cause,
    });
  const text = Buffer.from(pem).toString('latin1');
  // createPublicKey would take a private key as well, and derive its public half: nobody should get used to handing those around.
  if (!text.includes('-----BEGIN PUBLIC KEY-----')) throw unusable('it is no PUBLIC KEY in PEM');
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch (cause) {
    throw unusable('it cannot be read', cause);
  }
  if (!isSigningKey(key)) throw unusable('it is on none of the curves P-256, P-384 and P-521');
  return key;
}

/** What the reference implementation calls the key's hint: SHA-256 of its PEM. */
export const keyIdOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'pem' }))
    .digest('hex');

/** @throws ModelSignatureError MODEL_SIGNATURE_UNTRUSTED where the bundle names another key */
export function checkHint(key: KeyObject, hint: string | undefined): void {
  // Bundles from before version 1.0 name no key; the signature itself then decides.
  if (hint === undefined || hint === '' || hint === keyIdOf(key)) return;
  throw untrusted(
    `The model was signed with the key ${hint.slice(0, 12)}…; given was ${keyIdOf(key).slice(0, 12)}….`,
    "Give the public key that belongs to the signer's key with --oms-key.",
  );
}

/** The DSSE signature over the raw payload, before the payload is read. @throws ModelSignatureError MODEL_SIGNATURE_INVALID */
export function checkSignature({ payload, signature }: SignatureBundle, key: KeyObject): void {
  const message = preAuthenticationEncoding(STATEMENT_PAYLOAD_TYPE, payload);
  if (verify(hashFor(key), message, { key, dsaEncoding: 'der' }, signature)) return;
  throw new ModelSignatureError('MODEL_SIGNATURE_INVALID', 'The signature does not fit the signed statement.', {
    remedy: 'The bundle was changed after it was signed, or damaged on its way. Get it again from its signer.',
  });
}
