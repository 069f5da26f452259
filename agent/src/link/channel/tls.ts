import { createHash, X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect, rootCertificates, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { systemCode } from '../../host/index.js';
import { LinkError } from '../errors.js';
import { judgeServer, type Distrust } from './server-trust.js';

/** What this device believes of a server. PEM. */
export interface ServerTrust {
  /** The control plane's own authorities, from the grant. */
  readonly authorities: readonly string[];
  /** Of the operator's file (`tls.ca`). */
  readonly further?: string | undefined;
  /** Also those that the system brings, for a server with a public certificate. */
  readonly system: boolean;
  /** Instead of all these, at enrolment: SHA-256 of an authority's key, in base64url, as the claim token carries it. */
  readonly pin?: string | undefined;
}

/** PEM; the key proves itself in the handshake and stays here. */
export interface ClientCertificate {
  readonly certificate: string;
  readonly key: string;
}

export interface TlsOptions {
  readonly target: URL;
  readonly trust: ServerTrust;
  readonly client: ClientCertificate | undefined;
  /** True time is not before this: the later of clock and floor. */
  readonly notBeforeMs: number;
  readonly signal: AbortSignal;
}

/** A chain of our authorities has one certificate for each that ever was; a server that sends more means no good. */
const MAX_CHAIN = 10;

/**
 * TLS over a socket that is open. The handshake checks that the server holds its key. Whether it is to be believed is judged by OpenSSL first,
 * and where that says no, which it does for everything while the clock is at 1970, by our own authorities and the time floor.
 *
 * @throws LinkError LINK_SERVER_*, LINK_CERTIFICATE_REFUSED, LINK_TLS_FAILED
 */
export async function secure(socket: Socket, options: TlsOptions): Promise<TLSSocket> {
  const { target, trust, client, signal } = options;
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const ca = trust.pin === undefined ? anchorsOf(trust) : [];
  const secured = connect({
    socket,
    ...(isIP(host) === 0 ? { servername: host } : { host }),
    ...(ca ? { ca } : {}),
    ...(client ? { cert: client.certificate, key: client.key } : {}),
    // Judged below, before a byte is sent.
    rejectUnauthorized: false,
  });
  const onAbort = (): void => void secured.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve);
      secured.once('error', (error: Error) => reject(toTlsError(error, target)));
      secured.once('close', () => reject(toTlsError(new Error('the connection ended during the handshake'), target)));
    });
    const distrust = judge(secured, host, options);
    if (!distrust) return secured;
    secured.destroy();
    throw distrusted(distrust, target);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Undefined leaves the choice to Node.js, which then also takes NODE_EXTRA_CA_CERTS. */
function anchorsOf({ authorities, further, system }: ServerTrust): string[] | undefined {
  const own = [...authorities, ...(further === undefined ? [] : [further])];
  if (!system) return own;
  return own.length === 0 ? undefined : [...own, ...rootCertificates];
}

type Verdict = Distrust | { readonly reason: 'not-yet-valid'; readonly detail: string };

function judge(socket: TLSSocket, host: string, { trust, notBeforeMs }: TlsOptions): Verdict | undefined {
  const leaf = socket.getPeerCertificate(true);
  const certificates = chainOf(leaf);
  const ended = Date.parse(certificates[0]?.validTo ?? '');
  if (socket.authorized && trust.pin === undefined) {
    return ended < notBeforeMs ? { reason: 'expired', detail: `its certificate ended at ${leaf.valid_to}` } : undefined;
  }
  const anchors =
    trust.pin === undefined
      ? trust.authorities.map((pem) => new X509Certificate(pem))
      : certificates.filter((each) => pinOf(each) === trust.pin);
  const distrust = judgeServer({ certificates, leaf, host }, anchors, notBeforeMs);
  if (distrust?.reason !== 'unknown-authority') return distrust;
  // Not one of ours: then OpenSSL's word stands, which knows the operator's and the system's authorities.
  const said = String(socket.authorizationError);
  if (said === 'CERT_HAS_EXPIRED') return { reason: 'expired', detail: `its certificate ended at ${leaf.valid_to}` };
  if (said === 'CERT_NOT_YET_VALID')
    return { reason: 'not-yet-valid', detail: `its certificate begins at ${leaf.valid_from}` };
  if (said === 'ERR_TLS_CERT_ALTNAME_INVALID') return { reason: 'wrong-name', detail: `it is not for "${host}"` };
  return { reason: 'unknown-authority', detail: `${distrust.detail} (${said})` };
}

const pinOf = (certificate: X509Certificate): string =>
  createHash('sha256')
    .update(certificate.publicKey.export({ format: 'der', type: 'spki' }))
    .digest('base64url');

/** Node.js links each certificate to its issuer, as far as the server sent it; the last one to itself. */
function chainOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  for (
    let each: Partial<DetailedPeerCertificate> | undefined = leaf;
    each?.raw && each.fingerprint256 !== undefined && !seen.has(each.fingerprint256) && chain.length < MAX_CHAIN;
    each = each.issuerCertificate
  ) {
    seen.add(each.fingerprint256);
    chain.push(new X509Certificate(each.raw));
  }
  return chain;
}

function distrusted({ reason, detail }: Verdict, target: URL): LinkError {
  const facts = (remedy: string) => ({ where: target.origin, remedy: `The agent goes on trying. ${remedy}` });
  switch (reason) {
    case 'expired':
      return new LinkError('LINK_SERVER_EXPIRED', `The server's certificate has expired: ${detail}.`, {
        ...facts('If the clock of this device is right, renew the certificate of the server.'),
      });
    case 'not-yet-valid':
      return new LinkError('LINK_SERVER_NOT_YET_VALID', `The server's certificate is not valid yet: ${detail}.`, {
        ...facts('Set the clock of this device, by NTP best.'),
      });
    case 'wrong-name':
      return new LinkError('LINK_SERVER_NAME_WRONG', `The server's certificate is for another name: ${detail}.`, {
        ...facts('Add the name or address to "tls.names" of the control plane, or use one that is there.'),
      });
    case 'unknown-authority':
      return new LinkError('LINK_SERVER_UNTRUSTED', `The server is not to be believed (unknown CA): ${detail}.`, {
        ...facts('Look who answers at this address. If its authority is to be believed, name its file in "tls.ca".'),
      });
  }
}

/** An alert by the server about our certificate (RFC 8446, section 6.2); with TLS 1.3 it comes after our side is done. */
const ABOUT_OUR_CERTIFICATE = /ALERT_(BAD_|UNSUPPORTED_)?CERTIFICATE|ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED/;

/** What a TLS connection breaks with, at the handshake or later, as far as it says why. */
export function toTlsError(error: Error, target: URL): LinkError {
  const code = systemCode(error) ?? '';
  if (ABOUT_OUR_CERTIFICATE.test(code)) {
    const said = code
      .replace(/^ERR_SSL_(\w+_)?ALERT_/, '')
      .toLowerCase()
      .replaceAll('_', ' ');
    return new LinkError('LINK_CERTIFICATE_REFUSED', `The server refused the certificate of this device (${said}).`, {
      where: target.origin,
      remedy: 'The agent asks for a new one by itself. If that is refused too, the device was revoked: enrol it anew.',
      cause: error,
    });
  }
  return new LinkError('LINK_TLS_FAILED', `The TLS connection failed: ${error.message}.`, {
    where: target.origin,
    remedy: 'The agent goes on trying. If it stays so, look whether that port speaks TLS, and what is between.',
    cause: error,
  });
}
