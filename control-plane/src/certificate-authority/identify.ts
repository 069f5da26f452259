import type { X509Certificate } from 'node:crypto';
import { DeviceId } from '@drover/shared/ids';
import type { Authority } from './authorities.js';
import { BACKDATED_MS, deviceUri } from './issue.js';

export interface IdentifiedDevice {
  readonly deviceId: DeviceId;
  /** Lower-case hex. */
  readonly serial: string;
  /** Number of the authority that issued it. */
  readonly authority: number;
  /** Ed25519, 32 bytes in hex. */
  readonly publicKeyHex: string;
  /** To the second. */
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

/** Whom a client certificate stands for, or why it stands for nobody. */
export type Identified =
  | ({ readonly kind: 'device' } & IdentifiedDevice)
  | { readonly kind: 'account'; readonly name: string }
  | { readonly kind: 'refused'; readonly why: string };

/** RFC 5280, section 4.2.1.12: id-kp-clientAuth. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** Undefined in a certificate without the extension, whatever the type says. */
const purposesOf = ({ keyUsage }: { readonly keyUsage?: readonly string[] | undefined }): readonly string[] =>
  keyUsage ?? [];

const refused = (why: string): Identified => ({ kind: 'refused', why });

/**
 * Reads a client certificate (docs/protocol.md, section 7). That the peer holds its key was proved by the TLS handshake; everything else is
 * checked here, by our own clock and the authorities that are accepted now, so that a resumed session or a retired authority lets nobody in.
 * Our certificates are issued by an authority directly: there is no path to build. Pure.
 */
export function identify(certificate: X509Certificate, accepted: readonly Authority[], nowMs: number): Identified {
  const issuer = accepted.find(
    ({ certificate: authority }) => certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
  if (!issuer) return refused('no accepted authority issued it');
  if (certificate.ca) return refused('it belongs to an authority, not to a client');
  if (nowMs >= Date.parse(certificate.validTo)) return refused(`it expired at ${certificate.validTo}`);
  if (nowMs < Date.parse(certificate.validFrom)) return refused(`it is not valid before ${certificate.validFrom}`);
  if (!purposesOf(certificate).includes(CLIENT_AUTH)) return refused('it is not for clients');
  const name = /^CN=([a-z0-9][a-z0-9_-]{0,63})$/.exec(certificate.subject)?.[1];
  if (name === undefined) return refused('its subject is not one name');
  if (certificate.subjectAltName === `URI:urn:drover:account:${name}`) return { kind: 'account', name };
  const deviceId = DeviceId(name);
  if (certificate.subjectAltName !== `URI:${deviceUri(deviceId)}`) return refused('its names do not agree');
  return {
    kind: 'device',
    deviceId,
    serial: certificate.serialNumber.toLowerCase(),
    authority: issuer.number,
    publicKeyHex: certificate.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex'),
    issuedAtMs: issuedAtMs(certificate),
    expiresAtMs: Date.parse(certificate.validTo),
  };
}

/** When one of our certificates was issued, to the second. */
export const issuedAtMs = ({ validFrom }: X509Certificate): number => Date.parse(validFrom) + BACKDATED_MS;
