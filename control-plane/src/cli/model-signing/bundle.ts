import { Type, type Static } from 'typebox';
import { formatProblems, parseJsonBytes, validate } from '@drover/shared/validation';
import { malformed, unsupported } from './errors.js';

/** A statement has some 150 bytes for each file: enough for 50,000 files. */
export const MAX_BUNDLE_BYTES = 16 * 1024 * 1024;
export const STATEMENT_PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

const certificate = Type.Object({ rawBytes: Type.String({ minLength: 1, maxLength: 65_536 }) });

/**
 * The part of the Sigstore bundle (sigstore/protobuf-specs, sigstore_bundle.proto, v0.3) that OpenSSF model signing fills for its key and
 * certificate methods. Unknown keys are passed over, as protobuf readers do: nothing outside of the signed payload is believed.
 */
const Bundle = Type.Object({
  mediaType: Type.String(),
  verificationMaterial: Type.Object({
    publicKey: Type.Optional(Type.Object({ hint: Type.Optional(Type.Union([Type.String(), Type.Null()])) })),
    x509CertificateChain: Type.Optional(
      Type.Object({ certificates: Type.Array(certificate, { minItems: 1, maxItems: 10 }) }),
    ),
    certificate: Type.Optional(certificate),
    tlogEntries: Type.Optional(Type.Array(Type.Unknown())),
  }),
  dsseEnvelope: Type.Object({
    payload: Type.String(),
    payloadType: Type.String(),
    // Exactly one: sigstore_bundle.proto, comment of dsse_envelope.
    signatures: Type.Array(Type.Object({ sig: Type.String({ minLength: 1, maxLength: 1000 }) }), {
      minItems: 1,
      maxItems: 1,
    }),
  }),
});

/** How a bundle says by whom it was signed; nothing of it is believed before it is checked. */
export type ClaimedSigner =
  | { readonly method: 'key'; readonly hint: string | undefined }
  | { readonly method: 'certificate'; readonly chain: readonly Buffer[] };

export interface SignatureBundle {
  readonly payload: Buffer;
  /** ECDSA, as DER. */
  readonly signature: Buffer;
  readonly signer: ClaimedSigner;
}

/** @throws ModelSignatureError MODEL_SIGNATURE_MALFORMED, MODEL_SIGNATURE_UNSUPPORTED */
export function parseBundle(bytes: Uint8Array): SignatureBundle {
  if (bytes.length > MAX_BUNDLE_BYTES) throw malformed(`${bytes.length} bytes exceed the limit of ${MAX_BUNDLE_BYTES}`);
  const bundle = validate(Bundle, parseJsonBytes(bytes, malformed), (problems) => malformed(formatProblems(problems)));
  if (bundle.mediaType !== BUNDLE_MEDIA_TYPE)
    throw unsupported(`The bundle is of type "${bundle.mediaType.slice(0, 100)}", not ${BUNDLE_MEDIA_TYPE}.`);
  const { payload, payloadType, signatures } = bundle.dsseEnvelope;
  if (payloadType !== STATEMENT_PAYLOAD_TYPE)
    throw malformed(`its payload is "${payloadType.slice(0, 100)}", not ${STATEMENT_PAYLOAD_TYPE}`);
  return {
    payload: Buffer.from(payload, 'base64'),
    signature: Buffer.from(signatures[0]?.sig ?? '', 'base64'),
    signer: claimedSigner(bundle.verificationMaterial),
  };
}

function claimedSigner(material: Static<typeof Bundle>['verificationMaterial']): ClaimedSigner {
  const { publicKey, x509CertificateChain, certificate: keyless } = material;
  const claims = [publicKey, x509CertificateChain, keyless].filter((claim) => claim !== undefined);
  if (claims.length !== 1) throw malformed('it must name one public key or one chain of certificates');
  if (x509CertificateChain) {
    const chain = x509CertificateChain.certificates.map(({ rawBytes }) => Buffer.from(rawBytes, 'base64'));
    return { method: 'certificate', chain };
  }
  if (publicKey) return { method: 'key', hint: publicKey.hint ?? undefined };
  throw unsupported('The bundle was signed with the keyless Sigstore method, which needs a transparency log to check.');
}
