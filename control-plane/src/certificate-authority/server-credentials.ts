import { readFileSync } from 'node:fs';
import { networkInterfaces, hostname } from 'node:os';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { X509Certificate } from 'node:crypto';
import type { Authorities } from './authorities.js';
import { AuthorityError } from './errors.js';
import { issueServerCertificate } from './issue.js';
import { CURVE, webcrypto, x509 } from './x509.js';

/** What our listeners present, and whose clients they ask for. Changes while they listen. */
export interface ServerCredentials {
  current(): SecureContextOptions;
  onChange(listener: (credentials: SecureContextOptions) => void): void;
  /** Looks whether something changed: time for a new certificate, other authorities, other files. */
  refresh(): Promise<void>;
}

const LIFE_MS = 90 * 86_400_000;
const DAY_MS = 86_400_000;

/** Certificates from our own authority, renewed by itself after two thirds of their life, or when another authority issues. */
export async function ownServerCredentials(
  authorities: Authorities,
  names: readonly string[],
  now: () => number,
): Promise<ServerCredentials> {
  const keys = await webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify']);
  const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = x509.PemConverter.encode(pkcs8, 'PRIVATE KEY');
  const publicKey = await x509.PublicKey.create(keys.publicKey);
  let issued = { by: 0, atMs: 0, chain: '' };
  const listeners: ((credentials: SecureContextOptions) => void)[] = [];
  let accepted = '';
  const current = (): SecureContextOptions => ({ key, cert: issued.chain, ca: accepted });
  const refresh = async (): Promise<void> => {
    const { number } = authorities.current();
    const ca = authorities
      .accepted()
      .map(({ pem }) => pem)
      .join('');
    const isDue = issued.by !== number || now() >= issued.atMs + (LIFE_MS * 2) / 3;
    if (isDue) {
      const atMs = now();
      const certificate = await issueServerCertificate(
        authorities.issuer(),
        { names, publicKey },
        { fromMs: atMs, untilMs: atMs + LIFE_MS },
      );
      issued = { by: number, atMs, chain: [`${certificate.toString('pem')}\n`, ...authorities.chain()].join('') };
    }
    if (!isDue && ca === accepted) return;
    accepted = ca;
    for (const listener of listeners) listener(current());
  };
  await refresh();
  return { current, refresh, onChange: (listener) => void listeners.push(listener) };
}

/** A certificate that the operator brought, read again when its files change: whoever renews it needs not restart us. */
export function operatorServerCredentials(
  authorities: Authorities,
  files: { readonly certificate: string; readonly key: string },
): ServerCredentials {
  const read = (): SecureContextOptions => {
    try {
      const credentials = {
        cert: readFileSync(files.certificate, 'utf8'),
        key: readFileSync(files.key, 'utf8'),
        ca: authorities
          .accepted()
          .map(({ pem }) => pem)
          .join(''),
      };
      // Says when the two do not belong together.
      createSecureContext(credentials);
      return credentials;
    } catch (cause) {
      throw new AuthorityError(
        'SERVER_CERTIFICATE_UNREADABLE',
        `The server's certificate or key cannot be used: ${cause instanceof Error ? cause.message : String(cause)}.`,
        {
          where: `${files.certificate}, ${files.key}`,
          remedy: 'Give "tls.certificate" the chain, the own certificate first, and "tls.key" its key, both in PEM.',
          cause,
        },
      );
    }
  };
  let credentials = read();
  const listeners: ((changed: SecureContextOptions) => void)[] = [];
  return {
    current: () => credentials,
    onChange: (listener) => void listeners.push(listener),
    refresh() {
      const found = read();
      if (JSON.stringify(found) !== JSON.stringify(credentials)) {
        credentials = found;
        for (const listener of listeners) listener(credentials);
      }
      return Promise.resolve();
    },
  };
}

/** Days until what we present runs out, for the log and `drover doctor`. */
export const daysLeft = ({ cert }: SecureContextOptions, nowMs: number): number =>
  Math.floor((Date.parse(new X509Certificate(String(cert)).validTo) - nowMs) / DAY_MS);

const WILDCARDS = new Set(['0.0.0.0', '::']);

/** Every name that a device may know us by, as far as it can be told; `tls.names` adds what cannot (a name in DNS, an address behind NAT). */
export function serverNames(hosts: readonly string[], further: readonly string[]): string[] {
  const own = hosts.some((host) => WILDCARDS.has(host))
    ? Object.values(networkInterfaces()).flatMap((each) =>
        (each ?? []).map(({ address }) => address.split('%')[0] ?? ''),
      )
    : [];
  const known = hosts.filter((host) => !WILDCARDS.has(host));
  const names = [...further, ...known, 'localhost', '127.0.0.1', '::1', hostname().toLowerCase(), ...own];
  return [...new Set(names)].filter((name) => /^[A-Za-z0-9.:*_-]{1,253}$/.test(name));
}
