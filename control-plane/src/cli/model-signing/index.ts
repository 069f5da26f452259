import type { KeyObject, X509Certificate } from 'node:crypto';
import { digestOf, type Digest } from '@drover/shared/ids';
import type { ModelSignature } from '@drover/shared/manifest';
import { readFile } from '../files.js';
import { parseBundle, type SignatureBundle } from './bundle.js';
import { identitiesOf, oneLine, readCertificates, verifyChain } from './certificate-chain.js';
import { checkHint, checkSignature, keyIdOf, readPublicKey } from './ec-key.js';
import { untrusted } from './errors.js';
import { compareFiles, type ModelFiles } from './model-folder.js';
import { parseStatement, PREDICATE_TYPE } from './statement.js';

export { MODEL_SIGNATURE_CODES, ModelSignatureError } from './errors.js';
export { parseBundle } from './bundle.js';
export { parseStatement } from './statement.js';

/** Whom a signature has to come from. */
export type TrustedSigner =
  { readonly keyFile: string } | { readonly authoritiesFile: string; readonly identity?: string | undefined };

export interface VerifiedModel {
  /** Digest of the model file that was checked. */
  readonly digest: Digest;
  /** For the lineage of the release. */
  readonly signature: ModelSignature;
  /** When the signer's certificate ends; undefined for a bare key. */
  readonly certificateEndsAt: Date | undefined;
}

/**
 * Checks an OpenSSF model signature (sigstore/model-transparency, version 1): trust in the signer, the signature over the raw payload, the
 * statement, and every file of the model, in this order.
 *
 * @throws ModelSignatureError, CliError CLI_FILE_UNREADABLE
 */
export async function verifyModelSignature(files: ModelFiles, trusted: TrustedSigner): Promise<VerifiedModel> {
  const bytes = readFile(files.signatureFile);
  const bundle = parseBundle(bytes);
  const { key, signedBy, certificate } = 'keyFile' in trusted ? byKey(bundle, trusted) : byCertificate(bundle, trusted);
  checkSignature(bundle, key);
  const signed = parseStatement(bundle.payload);
  const modelDigest = await compareFiles(signed, files);
  return {
    digest: `sha256:${modelDigest}` as Digest,
    signature: {
      predicateType: PREDICATE_TYPE,
      bundle: digestOf(bytes),
      root: signed.root,
      files: signed.files.size,
      signedBy,
    },
    certificateEndsAt: certificate && new Date(certificate.validTo),
  };
}

interface CheckedSigner {
  readonly key: KeyObject;
  readonly signedBy: ModelSignature['signedBy'];
  readonly certificate?: X509Certificate;
}

function byKey({ signer }: SignatureBundle, { keyFile }: { readonly keyFile: string }): CheckedSigner {
  const key = readPublicKey(readFile(keyFile), keyFile);
  if (signer.method !== 'key')
    throw untrusted('The model was signed with a certificate; given was a key.', 'Name the authority with --oms-ca.');
  checkHint(key, signer.hint);
  return { key, signedBy: { method: 'key', keyId: keyIdOf(key) } };
}

function byCertificate(
  { signer }: SignatureBundle,
  { authoritiesFile, identity }: Exclude<TrustedSigner, { readonly keyFile: string }>,
): CheckedSigner {
  const authorities = readCertificates(readFile(authoritiesFile), authoritiesFile);
  if (signer.method !== 'certificate')
    throw untrusted('The model was signed with a bare key; given was an authority.', 'Name the key with --oms-key.');
  const certificate = verifyChain(signer.chain, authorities);
  const identities = identitiesOf(certificate);
  if (identity !== undefined && !identities.includes(identity)) {
    throw untrusted(
      `The model was signed by ${identities.map((name) => `"${name.slice(0, 200)}"`).join(', ') || 'nobody by name'}, not by "${identity}".`,
      'Check with the signer who was to sign; --oms-identity is compared character by character.',
    );
  }
  return {
    key: certificate.publicKey,
    certificate,
    signedBy: {
      method: 'certificate',
      subject: oneLine(certificate.subject) || '(no name)',
      issuer: oneLine(certificate.issuer) || '(no name)',
      certificate: digestOf(certificate.raw),
      ...(identity === undefined ? {} : { identity }),
    },
  };
}
