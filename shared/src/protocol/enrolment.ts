import { Type, type Static } from 'typebox';
import { KeySet, PublicKey } from '../trust/keys.js';
import { atMs, attributes, count, deviceId, protocol, text } from './vocabulary.js';

export const ENROLMENT_TYPE = 'application/vnd.drover.enrolment+json';
const strict = { additionalProperties: false } as const;

/** Payload of the envelope that a device posts; signed with the key that it presents, which proves that it holds it. */
export const EnrolmentRequest = Type.Object(
  {
    protocol,
    kind: Type.Literal('enrolment'),
    claimToken: Type.String({ minLength: 1, maxLength: 200 }),
    deviceId,
    publicKey: PublicKey,
    hardwareClass: text(64),
    attributes,
    agentVersion: text(64),
    at: atMs,
  },
  strict,
);
export type EnrolmentRequest = Static<typeof EnrolmentRequest>;

/** One X.509 certificate, PEM (RFC 7468). */
const certificatePem = Type.String({
  pattern: '^-----BEGIN CERTIFICATE-----\\n[A-Za-z0-9+/=\\n]+\\n-----END CERTIFICATE-----\\n?$',
  maxLength: 8192,
});

/** What lets a device into a TLS connection, and what lets it believe the other end (docs/protocol.md, section 7). */
export const DeviceCertificate = Type.Object(
  {
    /** For the device's own key, by the authority of the control plane. */
    certificate: certificatePem,
    /** The authorities whose servers the device believes; several while one replaces another. */
    authorities: Type.Array(certificatePem, { minItems: 1, maxItems: 8 }),
  },
  strict,
);
export type DeviceCertificate = Static<typeof DeviceCertificate>;

/**
 * With it a device says which keys of a grant it reads beyond those of the first agents, which refuse a grant with a key that they do not know
 * (docs/protocol.md, section 7). An older control plane passes over it.
 */
export const GRANT_READS_HEADER = 'drover-reads';

/** What the device stores. Publisher keys are not in it: they are pinned from a file, so that a stolen control plane cannot replace them. */
export const EnrolmentGrant = Type.Object(
  {
    protocol,
    deviceId,
    /** What the device is enrolled as: its own words, and the claim token's above them. */
    attributes: Type.Optional(attributes),
    /** Password for MQTT (user name = device id) and for HTTP Basic authentication, only where a listener speaks no TLS. */
    credential: Type.Optional(Type.String({ minLength: 32, maxLength: 200 })),
    identity: DeviceCertificate,
    director: KeySet,
    brokerUrl: Type.String({ minLength: 1, maxLength: 500 }),
    /** Where below the control plane's own address its broker also takes WebSockets: for networks that let nothing else pass. */
    websocketPath: Type.Optional(Type.String({ pattern: '^/[A-Za-z0-9/_-]{0,99}$' })),
    epoch: count,
  },
  strict,
);
export type EnrolmentGrant = Static<typeof EnrolmentGrant>;

export const RENEWAL_TYPE = 'application/vnd.drover.renewal+json';

/** Payload of the envelope with which a device asks for a new certificate; signed with the key that it enrolled with. */
export const RenewalRequest = Type.Object(
  { protocol, kind: Type.Literal('renewal'), deviceId, agentVersion: text(64), at: atMs },
  strict,
);
export type RenewalRequest = Static<typeof RenewalRequest>;

export const READMISSION_TYPE = 'application/vnd.drover.readmission+json';

/**
 * Payload of the envelope of a device that its control plane has forgotten, because a backup from before its enrolment was restored; signed with
 * the key that it enrolled with. Its certificate says that this control plane's authority let it in.
 */
export const ReadmissionRequest = Type.Object(
  {
    protocol,
    kind: Type.Literal('readmission'),
    deviceId,
    publicKey: PublicKey,
    /** Its newest one; it may have run out meanwhile. */
    certificate: certificatePem,
    /** SHA-256 of its credential in hex, where it was given one: so that the credential goes on to hold, and is not sent. */
    credentialHash: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
    hardwareClass: text(64),
    attributes,
    agentVersion: text(64),
    at: atMs,
  },
  strict,
);
export type ReadmissionRequest = Static<typeof ReadmissionRequest>;

/** A claim token is `SECRET` or `SECRET.PIN`. The pin never leaves the device: it says which authority the server has to prove. */
export interface ClaimToken {
  readonly secret: string;
  /** SHA-256 of the authority's public key (SubjectPublicKeyInfo, DER), in base64url. */
  readonly pin?: string;
}

export function parseClaimToken(token: string): ClaimToken {
  const dot = token.indexOf('.');
  return dot < 0 ? { secret: token } : { secret: token.slice(0, dot), pin: token.slice(dot + 1) };
}
