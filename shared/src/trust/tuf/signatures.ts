import { sign } from 'node:crypto';
import { Key, Signature } from '@tufjs/models';
import { toSigningKey, type KeyPair } from '../keys.js';
import { canonicalBytes, carrierOf } from './canonical.js';
import { entryOf, type MetadataFile, type MetadataSignature, type RoleKeys, type TufKey } from './documents.js';
import { TufError } from './errors.js';
import { keyFingerprint, toTufKey, tufKeyId } from './keys.js';

export interface ThresholdCheck {
  readonly file: Pick<MetadataFile, 'signed' | 'signatures'>;
  readonly role: RoleKeys;
  readonly keys: Readonly<Record<string, TufKey>>;
  /** The file that is checked, and the one whose keys have to have signed it. */
  readonly where: string;
  readonly delegator: string;
  readonly section: string;
}

/**
 * "Check for an arbitrary software attack" (docs/protocol.md, section 12, steps 4 and 5): at least `threshold` *distinct* keys of the role signed the file. A key counts once, under however many
 * ids it is listed; a signature that does not hold is passed over, as an empty one is.
 *
 * @throws TufError TUF_SIGNATURES_BELOW_THRESHOLD
 */
export function verifyThreshold({ file, role, keys, where, delegator, section }: ThresholdCheck): void {
  const signatures = new Map(file.signatures.map(({ keyid, sig }) => [keyid, sig]));
  const signedBy = new Set<string>();
  let cause: unknown;
  for (const keyid of role.keyids) {
    const key = entryOf(keys, keyid);
    const sig = signatures.get(keyid);
    const fingerprint = key && keyFingerprint(key);
    if (key === undefined || fingerprint === undefined || !isHex(sig)) continue;
    try {
      verifySignature({ keyid, key, sig, signed: file.signed });
      signedBy.add(fingerprint);
    } catch (error) {
      cause = error;
    }
    if (signedBy.size >= role.threshold) return;
  }
  throw new TufError(
    'TUF_SIGNATURES_BELOW_THRESHOLD',
    `${where} is signed by ${signedBy.size} of the ${role.threshold} keys that ${delegator} asks for.`,
    { section, where, cause },
  );
}

/** Node decodes hexadecimal up to the first wrong digit and drops the rest, so the form is checked before. */
const isHex = (sig: string | undefined): sig is string => sig !== undefined && /^(?:[0-9a-f]{2})+$/i.test(sig);

/** node:crypto checks that S is in range (RFC 8032, section 5.1.7), so a malleated Ed25519 signature fails here. */
function verifySignature(o: { keyid: string; key: TufKey; sig: string; signed: object }): void {
  const { keytype, scheme, keyval } = o.key;
  const key = new Key({ keyID: o.keyid, keyType: keytype, scheme, keyVal: { public: keyval.public } });
  key.verifySignature({
    signatures: { [o.keyid]: new Signature({ keyID: o.keyid, sig: o.sig }) },
    signed: carrierOf(o.signed),
  });
}

/** Who can sign metadata: on a publisher's machine, in the control plane for its online roles, in a hardware module. */
export interface TufSigner {
  readonly keyId: string;
  readonly key: TufKey;
  sign(message: Uint8Array): Uint8Array;
}

export function tufSigner(pair: Pick<KeyPair, 'publicKey' | 'seed'>): TufSigner {
  const key = toTufKey(pair);
  const signingKey = toSigningKey(pair.seed);
  return { keyId: tufKeyId(key), key, sign: (message) => sign(null, message, signingKey) };
}

export const signatureOf = (signed: object, signer: TufSigner): MetadataSignature => ({
  keyid: signer.keyId,
  sig: Buffer.from(signer.sign(canonicalBytes(signed))).toString('hex'),
});

/** As it is published: compact, because what is signed is the canonical form and not these bytes. */
export const encodeMetadata = ({ signed, signatures }: Omit<MetadataFile, 'bytes'>): Uint8Array =>
  Buffer.from(JSON.stringify({ signatures, signed }));

/** A whole metadata file, as it is published. */
export const signMetadata = (signed: MetadataFile['signed'], signers: readonly TufSigner[]): Uint8Array =>
  encodeMetadata({ signed, signatures: signers.map((signer) => signatureOf(signed, signer)) });
