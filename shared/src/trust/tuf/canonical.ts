import { Metadata, Signature, Timestamp } from '@tufjs/models';

type JsonObject = ReturnType<Timestamp['toJSON']>;
export type Json = JsonObject[string];

/**
 * Lets the library's classes work on exactly what was received. Their own `toJSON` drops some unknown attributes, which section 4.1 wants signed,
 * and their `fromJSON` takes time that grows with the square of the number of entries (15 s for 10,000, before any signature was checked).
 */
export const carrierOf = (signed: object): Timestamp =>
  Object.assign(new Timestamp({ version: 1, specVersion: '1.0.34', expires: '1970-01-01T00:00:00Z' }), {
    toJSON: () => signed as JsonObject,
  });

/** Canonical JSON (TUF 1.0, section 4.1), which the library hands out to signers only. */
export function canonicalBytes(value: object): Buffer {
  let canonical: Buffer | undefined;
  new Metadata(carrierOf(value)).sign((bytes) => {
    canonical = bytes;
    return new Signature({ keyID: '', sig: '' });
  });
  if (canonical === undefined) throw new TypeError('@tufjs/models did not call the signer.');
  return canonical;
}
