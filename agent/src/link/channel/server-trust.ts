import type { X509Certificate } from 'node:crypto';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';

/** Why the other end is not believed. */
export type Distrust =
  | { readonly reason: 'expired'; readonly detail: string }
  | { readonly reason: 'unknown-authority'; readonly detail: string }
  | { readonly reason: 'wrong-name'; readonly detail: string };

export interface ServerChain {
  /** As the server sent them, its own first; the handshake proved that it holds the key of the first. */
  readonly certificates: readonly X509Certificate[];
  /** Of the first, in the form that `checkServerIdentity` reads. */
  readonly leaf: PeerCertificate;
  /** Name or address that we meant to reach. */
  readonly host: string;
}

/** RFC 5280, section 4.2.1.12: id-kp-serverAuth. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/**
 * Judges a server by the authorities of Drover alone, for a device that does not know what time it is (docs/protocol.md, section 7).
 *
 * True time is never before `notBeforeMs` (the later of the device's clock and its persisted floor), and how much later is unknown. So a
 * certificate that ended before it is certainly over, and nothing can be said about one that begins after it: the beginning is not judged.
 * Everything else is as in RFC 5280, section 6, on the short paths that our authorities make: signature, authority flag, purpose, name.
 *
 * @returns undefined when the server is to be believed
 */
export function judgeServer(
  { certificates, leaf, host }: ServerChain,
  anchors: readonly X509Certificate[],
  notBeforeMs: number,
): Distrust | undefined {
  const [own, ...above] = certificates;
  if (!own) return { reason: 'unknown-authority', detail: 'the server showed no certificate' };
  const unknown = (detail: string): Distrust => ({ reason: 'unknown-authority', detail });
  if (own.ca || !purposesOf(own).includes(SERVER_AUTH)) return unknown('its certificate is not one for servers');

  let child = own;
  for (const parent of [...above, undefined]) {
    if (Date.parse(child.validTo) < notBeforeMs)
      return { reason: 'expired', detail: `the certificate of "${nameOf(child)}" ended at ${child.validTo}` };
    const anchor = anchors.find((each) => isIssuer(each, child));
    if (anchor) {
      if (Date.parse(anchor.validTo) < notBeforeMs)
        return { reason: 'expired', detail: `the authority "${nameOf(anchor)}" ended at ${anchor.validTo}` };
      const mismatch = checkServerIdentity(host, leaf);
      return mismatch ? { reason: 'wrong-name', detail: mismatch.message } : undefined;
    }
    if (!parent || !isIssuer(parent, child)) break;
    child = parent;
  }
  return unknown(`none of the ${anchors.length} authorities that this device knows vouches for it`);
}

/** Undefined in a certificate without the extension, whatever the type says. */
const purposesOf = ({ keyUsage }: { readonly keyUsage?: readonly string[] | undefined }): readonly string[] =>
  keyUsage ?? [];

const isIssuer = (issuer: X509Certificate, child: X509Certificate): boolean =>
  issuer.ca && child.checkIssued(issuer) && child.verify(issuer.publicKey);

const nameOf = ({ subject }: X509Certificate): string => /CN=(.*)$/m.exec(subject)?.[1] ?? subject;
