import { Type, type Static } from 'typebox';
import { formatProblems, validate } from '../../validation/index.js';
import { TrustError } from '../errors.js';
import { keyIdOf, PublicKey } from '../keys.js';
import type { KeyFile } from './sealed-key.js';

/** What holders of keys hand to whoever runs a ceremony: public halves with names for people. */
export const PublicKeys = Type.Object(
  {
    format: Type.Literal('drover.public-keys/1'),
    keys: Type.Array(
      Type.Object(
        { ...PublicKey.properties, name: Type.Optional(Type.String({ maxLength: 100 })) },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 100 },
    ),
  },
  { additionalProperties: false },
);
export type PublicKeys = Static<typeof PublicKeys>;

export const publicKeysOf = (files: readonly KeyFile[]): PublicKeys => ({
  format: 'drover.public-keys/1',
  keys: files.map(({ keyId, algorithm, publicKey, name }) => ({
    keyId,
    algorithm,
    publicKey,
    ...(name === undefined ? {} : { name }),
  })),
});

/** @throws TrustError KEY_MALFORMED */
export function parsePublicKeys(json: unknown): PublicKeys {
  const malformed = (what: string) =>
    new TrustError('KEY_MALFORMED', what, { remedy: 'Make the file with `drover keys public`, and copy it whole.' });
  const set = validate(PublicKeys, json, (problems) =>
    malformed(`This is no file of public keys: ${formatProblems(problems)}.`),
  );
  for (const { keyId, publicKey } of set.keys) {
    if (keyIdOf(publicKey) !== keyId) throw malformed(`Key ${keyId} does not carry the public key that it names.`);
  }
  return set;
}
