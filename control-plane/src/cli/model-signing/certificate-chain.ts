import { X509Certificate } from 'node:crypto';
import { extensionsOf } from './certificate-extensions.js';
import { isSigningKey } from './ec-key.js';
import { malformed, ModelSignatureError, untrusted } from './errors.js';

/** Longest path from the signer's certificate to an authority, both counted. */
const MAX_PATH = 10;
/** Certificates that all claim to issue each other have factorially many paths: the search gives up after this many signatures. */
const MAX_CHECKS = 200;

/** @throws ModelSignatureError MODEL_SIGNATURE_KEY_UNUSABLE */
export function readCertificates(pem: Uint8Array, where: string): X509Certificate[] {
  const unusable = (why: string, cause?: unknown) =>
    new ModelSignatureError('MODEL_SIGNATURE_KEY_UNUSABLE', `These are no certificates of authorities: ${why}.`, {
      where,
      remedy: 'Give the certificates of the authorities that you trust, in PEM, one after the other.',
      cause,
    });
  const blocks = Buffer.from(pem)
    .toString('latin1')
    .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!blocks) throw unusable('there is none in the file');
  try {
    return blocks.map(readCertificate);
  } catch (cause) {
    throw unusable('one of them cannot be read', cause);
  }
}

/**
 * The signer's certificate, after a path from it to one of `trusted` was found (RFC 5280, section 6). All certificates must have been valid
 * when the signer's began, as the reference implementation demands: a bundle has no trusted time of signing, and certificates for signing
 * may end before the model that they signed. Revocation lists are not consulted.
 *
 * @throws ModelSignatureError MODEL_SIGNATURE_MALFORMED, MODEL_SIGNATURE_UNTRUSTED
 */
export function verifyChain(chain: readonly Buffer[], trusted: readonly X509Certificate[]): X509Certificate {
  let given: X509Certificate[];
  try {
    given = chain.map(readCertificate);
  } catch (cause) {
    throw malformed('one of its certificates cannot be read', cause);
  }
  const [signer, ...intermediates] = given;
  if (!signer) throw malformed('its chain of certificates is empty');
  checkMaySign(signer);
  const atMs = Date.parse(signer.validFrom);
  const anchors = trusted.filter(isSelfIssued);
  const candidates = [...anchors, ...intermediates, ...trusted.filter((certificate) => !isSelfIssued(certificate))];
  const search = {
    candidates,
    anchors: new Set(anchors.map(({ fingerprint256 }) => fingerprint256)),
    atMs,
    checksLeft: MAX_CHECKS,
  };
  if (leadsToAnchor([signer], search)) return signer;
  throw untrusted(
    `No path of valid certificates leads from "${oneLine(signer.subject)}" to an authority that was given.`,
    'Give the root certificate of the authority that issued it with --oms-ca, with the certificates in between if the bundle lacks them.',
  );
}

interface PathSearch {
  readonly candidates: readonly X509Certificate[];
  /** Fingerprints of the authorities that end a path. */
  readonly anchors: ReadonlySet<string>;
  readonly atMs: number;
  checksLeft: number;
}

/** Depth first, from the signer upwards. */
function leadsToAnchor(path: readonly X509Certificate[], search: PathSearch): boolean {
  const last = path.at(-1);
  if (!last || !isValidAt(last, search.atMs) || extensionsOf(last).unknownCritical.length > 0) return false;
  if (search.anchors.has(last.fingerprint256)) return true;
  if (path.length === MAX_PATH) return false;
  return search.candidates.some(
    (issuer) =>
      !path.includes(issuer) &&
      mayIssue(issuer, last, path.length - 1) &&
      search.checksLeft-- > 0 &&
      last.verify(issuer.publicKey) &&
      leadsToAnchor([...path, issuer], search),
  );
}

/** `between`: intermediate certificates below the issuer. */
function mayIssue(issuer: X509Certificate, certificate: X509Certificate, between: number): boolean {
  if (!certificate.checkIssued(issuer)) return false;
  const { authority, certificateSigning, pathLength } = extensionsOf(issuer);
  return authority && certificateSigning !== false && between <= (pathLength ?? between);
}

function readCertificate(encoded: Buffer | string): X509Certificate {
  const certificate = new X509Certificate(encoded);
  // Read here, where an error has a name: OpenSSL meets a key that it does not know only when it is asked for it.
  if (certificate.publicKey.type !== 'public') throw new Error('it has no public key');
  // OpenSSL leaves the insides of extensions unread until it needs them.
  extensionsOf(certificate);
  return certificate;
}

/** As the reference implementation: keyUsage digitalSignature, or else extendedKeyUsage codeSigning. */
function checkMaySign(signer: X509Certificate): void {
  const { digitalSignature, codeSigning } = extensionsOf(signer);
  const remedy = 'Sign with a certificate for signatures, on P-256, P-384 or P-521.';
  if (digitalSignature !== true && !codeSigning)
    throw untrusted(`The certificate "${oneLine(signer.subject)}" is not for signing.`, remedy);
  if (!isSigningKey(signer.publicKey))
    throw untrusted(`The key of "${oneLine(signer.subject)}" is on none of the curves of model signing.`, remedy);
}

const isSelfIssued = (certificate: X509Certificate): boolean =>
  certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);

const isValidAt = ({ validFrom, validTo }: X509Certificate, atMs: number): boolean =>
  Date.parse(validFrom) <= atMs && atMs <= Date.parse(validTo);

/** node:crypto puts one attribute of a name on each line. */
export const oneLine = (name: string): string => name.replaceAll('\n', ', ').slice(0, 500);

/** Email addresses, URIs and DNS names of the certificate, and the common name of its subject. */
export function identitiesOf({ subject, subjectAltName }: X509Certificate): string[] {
  const alternative = [...(subjectAltName ?? '').matchAll(/(?:^|, )(?:email|URI|DNS):("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(
    ([, name = '']) => (name.startsWith('"') ? (JSON.parse(name) as string) : name),
  );
  const common = subject.split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []));
  return [...alternative, ...common];
}
