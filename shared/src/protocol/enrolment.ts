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

/** What the device stores. Publisher keys are not in it: they are pinned from a file, so that a stolen control plane cannot replace them. */
export const EnrolmentGrant = Type.Object(
  {
    protocol,
    deviceId,
    /** Password for MQTT (user name = device id) and for HTTP Basic authentication. */
    credential: Type.String({ minLength: 32, maxLength: 200 }),
    director: KeySet,
    brokerUrl: Type.String({ minLength: 1, maxLength: 500 }),
    epoch: count,
  },
  strict,
);
export type EnrolmentGrant = Static<typeof EnrolmentGrant>;
