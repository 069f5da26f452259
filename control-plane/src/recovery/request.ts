import { Type, type Static } from 'typebox';
import { RECOVERY_TYPE, RecoveryStatement } from '@drover/shared/protocol';
import { Envelope, signEnvelope, type Signer } from '@drover/shared/trust';
import { formatProblems, validate } from '@drover/shared/validation';
import { RecoveryError } from './errors.js';

export const REQUEST_FORMAT = 'drover.recovery-request/1';

/** What goes from one holder of a root key to the next, on whatever carries files: the statement in the clear, and the signatures so far. */
export const RecoveryRequest = Type.Object(
  {
    format: Type.Literal(REQUEST_FORMAT),
    /** For people; what is signed are the bytes of `payload`. */
    statement: RecoveryStatement,
    payload: Type.String({ maxLength: 100_000 }),
    signatures: Type.Array(Envelope.properties.signatures.items, { maxItems: 100 }),
  },
  { additionalProperties: false },
);
export type RecoveryRequest = Static<typeof RecoveryRequest>;

export const createRequest = (statement: RecoveryStatement): RecoveryRequest => ({
  format: REQUEST_FORMAT,
  statement,
  payload: Buffer.from(JSON.stringify(statement)).toString('base64'),
  signatures: [],
});

/** @throws RecoveryError RECOVERY_REQUEST_INVALID, also when what is shown to people is not what would be signed */
export function parseRequest(json: unknown): RecoveryRequest {
  const refuse = (why: string) =>
    new RecoveryError('RECOVERY_REQUEST_INVALID', `This is no recovery request: ${why}.`, {
      remedy: 'Take the file that `drover recovery request` or `drover recovery sign` wrote.',
    });
  const request = validate(RecoveryRequest, json, (problems) => refuse(formatProblems(problems)));
  if (createRequest(request.statement).payload !== request.payload) {
    throw refuse('its statement is not the one that its signatures are for');
  }
  return request;
}

/** Adds one signature, or replaces the one by the same key. */
export function signRequest(request: RecoveryRequest, signer: Signer): RecoveryRequest {
  const { signatures } = signEnvelope(RECOVERY_TYPE, Buffer.from(request.payload, 'base64'), [signer]);
  const others = request.signatures.filter(({ keyid }) => signatures.every((added) => added.keyid !== keyid));
  return { ...request, signatures: [...others, ...signatures] };
}

/** The DSSE envelope as the control plane and the devices take it. @throws RecoveryError RECOVERY_REQUEST_INVALID */
export function toEnvelope({ payload, signatures }: RecoveryRequest): Envelope {
  if (signatures.length > 0) return { payloadType: RECOVERY_TYPE, payload, signatures: [...signatures] };
  throw new RecoveryError('RECOVERY_REQUEST_INVALID', 'Nobody has signed this recovery request.', {
    remedy: 'Let the holders of the root keys sign it with `drover recovery sign`.',
  });
}
