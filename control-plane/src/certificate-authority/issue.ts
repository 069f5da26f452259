import { createHash, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { DeviceId } from '@drover/shared/ids';
import { CURVE, SIGNATURE, webcrypto, x509 } from './x509.js';

/** Whoever signs: the name that stands in what it issues, and the key. */
export interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly privateKey: webcrypto.CryptoKey;
}

export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Clocks of devices lag: what was issued just now must not look as if it came from the future (docs/protocol.md, section 7). */
export const BACKDATED_MS = 24 * 3_600_000;

/** RFC 5280, section 4.1.2.2: at most 20 octets, positive, and 64 bits or more that nobody can guess. */
export const newSerial = (): string => `01${randomBytes(15).toString('hex')}`;

const dates = ({ fromMs, untilMs }: Validity) => ({
  notBefore: new Date(fromMs - BACKDATED_MS),
  notAfter: new Date(untilMs),
});

const authorityExtensions = async (publicKey: webcrypto.CryptoKey | x509.PublicKey) => [
  // No path length: when an authority replaces another, the old one vouches for the new one by such a certificate too.
  new x509.BasicConstraintsExtension(true, undefined, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
  await x509.SubjectKeyIdentifierExtension.create(publicKey),
];

/** A new authority: its key, and its certificate signed by itself. */
export async function createAuthority(name: string, validity: Validity): Promise<Issuer> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [name] }],
    ...dates(validity),
    keys,
    signingAlgorithm: SIGNATURE,
    extensions: await authorityExtensions(keys.publicKey),
  });
  return { certificate, privateKey: keys.privateKey };
}

/** The older authority's word for the newer one, so that a device which knows only the older one still believes the newer one's servers. */
export async function crossSign(newer: x509.X509Certificate, older: Issuer): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: newer.subjectName,
    issuer: older.certificate.subjectName,
    notBefore: newer.notBefore,
    notAfter: new Date(Math.min(newer.notAfter.getTime(), older.certificate.notAfter.getTime())),
    publicKey: newer.publicKey,
    signingKey: older.privateKey,
    signingAlgorithm: SIGNATURE,
    extensions: [
      ...(await authorityExtensions(newer.publicKey)),
      await x509.AuthorityKeyIdentifierExtension.create(older.certificate),
    ],
  });
}

export interface DeviceRequest {
  readonly deviceId: DeviceId;
  /** Ed25519, 32 bytes in hex. That the device holds the key was proved by its signature on the request. */
  readonly publicKeyHex: string;
}

/** RFC 8410, section 4. */
const ED25519_SPKI_PREFIX = '302a300506032b6570032100';
export const deviceUri = (deviceId: DeviceId): string => `urn:drover:device:${deviceId}`;

/** docs/protocol.md, section 7: the common name is the device id, which brokers take for the user name. */
export function issueDeviceCertificate(
  issuer: Issuer,
  { deviceId, publicKeyHex }: DeviceRequest,
  validity: Validity,
): Promise<x509.X509Certificate> {
  return issueLeaf(issuer, validity, {
    name: deviceId,
    publicKey: new x509.PublicKey(Buffer.from(`${ED25519_SPKI_PREFIX}${publicKeyHex}`, 'hex')),
    usage: x509.ExtendedKeyUsage.clientAuth,
    names: [{ type: 'url', value: deviceUri(deviceId) }],
  });
}

export function issueServerCertificate(
  issuer: Issuer,
  { names, publicKey }: { readonly names: readonly string[]; readonly publicKey: x509.PublicKey },
  validity: Validity,
): Promise<x509.X509Certificate> {
  return issueLeaf(issuer, validity, {
    // RFC 9525: only the alternative names count; the common name is for people.
    name: names[0]?.slice(0, 64) ?? 'drover',
    publicKey,
    usage: x509.ExtendedKeyUsage.serverAuth,
    names: names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name }) as const),
  });
}

interface Leaf {
  readonly name: string;
  readonly publicKey: x509.PublicKey;
  readonly usage: x509.ExtendedKeyUsage;
  readonly names: readonly { readonly type: 'dns' | 'ip' | 'url'; readonly value: string }[];
}

/** A client certificate for an account of the broker: `service`. */
export const issueServiceCertificate = (
  issuer: Issuer,
  { name, publicKey }: { readonly name: string; readonly publicKey: x509.PublicKey },
  validity: Validity,
): Promise<x509.X509Certificate> =>
  issueLeaf(issuer, validity, {
    name,
    publicKey,
    usage: x509.ExtendedKeyUsage.clientAuth,
    names: [{ type: 'url', value: `urn:drover:account:${name}` }],
  });

/** In a device's name, for a key that is not its own: our checks refuse it, and a broker takes it for that device. */
export const issueTakeoverCertificate = (
  issuer: Issuer,
  { deviceId, publicKey }: { readonly deviceId: DeviceId; readonly publicKey: x509.PublicKey },
  validity: Validity,
): Promise<x509.X509Certificate> =>
  issueLeaf(issuer, validity, {
    name: deviceId,
    publicKey,
    usage: x509.ExtendedKeyUsage.clientAuth,
    names: [{ type: 'url', value: deviceUri(deviceId) }],
  });

async function issueLeaf(issuer: Issuer, validity: Validity, leaf: Leaf): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ CN: [leaf.name] }],
    issuer: issuer.certificate.subjectName,
    ...dates(validity),
    publicKey: leaf.publicKey,
    signingKey: issuer.privateKey,
    signingAlgorithm: SIGNATURE,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([leaf.usage]),
      new x509.SubjectAlternativeNameExtension([...leaf.names]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.certificate),
    ],
  });
}

/** SHA-256 of the SubjectPublicKeyInfo in base64url: what a claim token pins. Of the key, not of the certificate: cross-signing changes that. */
export const pinOf = (certificate: x509.X509Certificate): string =>
  createHash('sha256').update(Buffer.from(certificate.publicKey.rawData)).digest('base64url');
