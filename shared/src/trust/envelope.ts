import { sign as signBytes, verify as verifyBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { Type, type Static } from 'typebox';
import type { KeyId } from '../ids/index.js';
import { formatProblems, parseJsonBytes, validate } from '../validation/index.js';
import { TrustError } from './errors.js';
import { toSigningKey, toVerifyKey, type KeyPair, type KeySet } from './keys.js';

/** A DSSE envelope, v1.0.2 (secure-systems-lab/dsse, envelope.md). */
export const Envelope = Type.Object(
  {
    payloadType: Type.String({ minLength: 1, maxLength: 200 }),
    payload: Type.String({ maxLength: 8 * 1024 * 1024 }),
    signatures: Type.Array(
      Type.Object(
        { keyid: Type.Unsafe<KeyId>(Type.String({ pattern: '^[0-9a-f]{64}$' })), sig: Type.String({ maxLength: 200 }) },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 100 },
    ),
  },
  { additionalProperties: false },
);
export type Envelope = Static<typeof Envelope>;

/** What is signed: DSSE's pre-authentication encoding (dsse protocol.md, "Signature Definition"). */
export function preAuthenticationEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const type = Buffer.from(payloadType, 'utf8');
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
}

export type Signer = (message: Uint8Array) => { keyId: KeyId; signature: Uint8Array };

/** For a publisher's tool and a device, which sign little: tweetnacl. */
export function occasionalSigner(key: KeyPair): Signer {
  const { secretKey } = nacl.sign.keyPair.fromSeed(Buffer.from(key.seed, 'hex'));
  return (message) => ({ keyId: key.keyId, signature: nacl.sign.detached(message, secretKey) });
}

/** For the director, which signs one deployment per device: node:crypto, some forty times faster. Same bytes (RFC 8032 is deterministic). */
export function bulkSigner(key: KeyPair): Signer {
  const signingKey = toSigningKey(key.seed);
  return (message) => ({ keyId: key.keyId, signature: signBytes(null, message, signingKey) });
}

export function signEnvelope(payloadType: string, payload: Uint8Array, signers: readonly Signer[]): Envelope {
  const message = preAuthenticationEncoding(payloadType, payload);
  return {
    payloadType,
    payload: Buffer.from(payload).toString('base64'),
    signatures: signers.map((signer) => {
      const { keyId, signature } = signer(message);
      return { keyid: keyId, sig: Buffer.from(signature).toString('base64') };
    }),
  };
}

export const encodeEnvelope = (envelope: Envelope): Buffer => Buffer.from(JSON.stringify(envelope));

/** Reads the frame only. The payload stays unread bytes until `verifyEnvelope` has accepted it. */
export function decodeEnvelope(bytes: Uint8Array, maxBytes = 2 * 1024 * 1024): Envelope {
  const refuse = (why: string, cause?: unknown) =>
    new TrustError('ENVELOPE_MALFORMED', `This is no DSSE envelope: ${why}.`, {
      remedy: 'Send the document as `drover` or the control plane wrote it.',
      cause,
    });
  if (bytes.length > maxBytes) throw refuse(`${bytes.length} bytes exceed the limit of ${maxBytes}`);
  const json = parseJsonBytes(bytes, refuse);
  return validate(Envelope, json, (problems) => refuse(formatProblems(problems)));
}

/** What kind of document it says it is, unverified; undefined for what is no envelope. */
export function payloadTypeOf(bytes: Uint8Array): string | undefined {
  try {
    return decodeEnvelope(bytes).payloadType;
  } catch {
    return undefined;
  }
}

export interface VerifiedPayload {
  readonly payload: Buffer;
  /** The distinct trusted keys whose signatures hold. */
  readonly signedBy: readonly KeyId[];
}

/**
 * Accepts an envelope of `payloadType` that at least `trusted.threshold` distinct keys of the set have signed
 * (docs/protocol.md, section 2). Unknown keys are passed over; a bad signature under a trusted key id is not counted.
 * node:crypto checks that S is in range (RFC 8032, section 5.1.7), so a malleated signature fails here.
 *
 * @throws TrustError ENVELOPE_TYPE_WRONG, SIGNATURE_INVALID, SIGNATURE_BELOW_THRESHOLD
 */
export function verifyEnvelope(envelope: Envelope, payloadType: string, trusted: KeySet): VerifiedPayload {
  if (envelope.payloadType !== payloadType) {
    throw new TrustError(
      'ENVELOPE_TYPE_WRONG',
      `Expected a document of type ${payloadType}, got ${envelope.payloadType}.`,
      {
        remedy: 'Send the document that was asked for; a signature for one kind of document does not hold for another.',
      },
    );
  }
  const payload = Buffer.from(envelope.payload, 'base64');
  const message = preAuthenticationEncoding(payloadType, payload);
  const signedBy = new Set<KeyId>();
  const failed: KeyId[] = [];
  for (const { keyid, sig } of envelope.signatures) {
    const key = trusted.keys.find(({ keyId }) => keyId === keyid);
    if (!key) continue;
    if (verifyBytes(null, message, toVerifyKey(key.publicKey), Buffer.from(sig, 'base64'))) signedBy.add(keyid);
    else failed.push(keyid);
  }
  if (signedBy.size >= trusted.threshold) return { payload, signedBy: [...signedBy] };
  if (failed.length > 0) {
    throw new TrustError(
      'SIGNATURE_INVALID',
      `The signature by key ${failed[0]?.slice(0, 12) ?? ''}… does not fit the document.`,
      {
        remedy:
          'The document was changed after it was signed, or damaged on its way. Publish or send it again from the source.',
      },
    );
  }
  const signers = envelope.signatures.map(({ keyid }) => `${keyid.slice(0, 12)}…`).join(', ');
  throw new TrustError(
    'SIGNATURE_BELOW_THRESHOLD',
    `${signedBy.size} of ${trusted.threshold} required signatures by trusted keys (signed by: ${signers}).`,
    {
      remedy:
        'Sign with a key that the reader trusts: `drover keys show` lists those of the control plane, `drover-agent status --json` those of a device.',
    },
  );
}
