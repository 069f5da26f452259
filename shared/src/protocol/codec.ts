import type { Static, TSchema } from 'typebox';
import type { DeviceId } from '../ids/index.js';
import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';
import {
  decodeEnvelope,
  encodeEnvelope,
  parseKeySet,
  signEnvelope,
  verifyEnvelope,
  type KeySet,
  type Signer,
} from '../trust/index.js';
import { formatProblems, parseJsonBytes, validate } from '../validation/index.js';
import { Deployment, DEPLOYMENT_TYPE } from './deployment.js';
import { LABEL_ANSWERS_TYPE, LabelAnswers, type SentLabelAnswer } from './label-answers.js';
import { RECOVERY_TYPE, RecoveryStatement } from './recovery.js';
import {
  ENROLMENT_TYPE,
  EnrolmentRequest,
  READMISSION_TYPE,
  ReadmissionRequest,
  RENEWAL_TYPE,
  RenewalRequest,
} from './enrolment.js';
import { REPORT_BODIES, REPORT_TYPE, ReportFrame, type Report, type ReportKind } from './report.js';

export const PROTOCOL_CODES = {
  MESSAGE_INVALID: { fault: 'peer', retryable: false },
  MESSAGE_PROTOCOL_UNKNOWN: { fault: 'peer', retryable: false },
  MESSAGE_WRONG_DEVICE: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class ProtocolError extends CodedError<keyof typeof PROTOCOL_CODES> {
  constructor(code: keyof typeof PROTOCOL_CODES, what: string, facts: ErrorFacts) {
    super(PROTOCOL_CODES, code, what, facts);
  }
}

function parsePayload<Schema extends TSchema>(schema: Schema, payload: Uint8Array, kind: string): Static<Schema> {
  const refuse = (why: string, cause?: unknown) =>
    new ProtocolError('MESSAGE_INVALID', `This ${kind} cannot be read: ${why}.`, {
      remedy:
        'Bring the agent and the control plane to versions that understand each other (docs/protocol.md, section 1).',
      cause,
    });
  const json = parseJsonBytes(payload, refuse);
  const spoken = (json as { protocol?: unknown } | null)?.protocol;
  if (spoken !== 1) {
    throw new ProtocolError('MESSAGE_PROTOCOL_UNKNOWN', `This ${kind} speaks protocol ${nameOf(spoken)}; known: 1.`, {
      remedy: 'Update whichever of agent and control plane is older.',
    });
  }
  return validate(schema, json, (problems) => refuse(formatProblems(problems)));
}

/** Whatever a stranger wrote there: JSON.stringify would run out of stack on what is nested deeply enough. */
const nameOf = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'string'
    ? JSON.stringify(value).slice(0, 50)
    : `a value of the type ${typeof value}`;

const toPayload = (document: object): Buffer => Buffer.from(JSON.stringify(document));

export const signDeployment = (deployment: Deployment, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(DEPLOYMENT_TYPE, toPayload(deployment), [signer]));

/** Signature first, then the parser (docs/protocol.md, section 4, steps 1 and 2). */
export const openDeployment = (bytes: Uint8Array, director: KeySet): Deployment =>
  parsePayload(Deployment, verifyEnvelope(decodeEnvelope(bytes), DEPLOYMENT_TYPE, director).payload, 'deployment');

export const signLabelAnswers = (answers: LabelAnswers, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(LABEL_ANSWERS_TYPE, toPayload(answers), [signer]));

/** Signature first, then the parser, then whose requests they are for (docs/protocol.md, section 9). */
export function openLabelAnswers(bytes: Uint8Array, device: DeviceId, director: KeySet): readonly SentLabelAnswer[] {
  const { payload } = verifyEnvelope(decodeEnvelope(bytes), LABEL_ANSWERS_TYPE, director);
  const { deviceId, answers } = parsePayload(LabelAnswers, payload, 'document of label answers');
  if (deviceId === device) return answers;
  throw new ProtocolError('MESSAGE_WRONG_DEVICE', `Label answers for ${deviceId} arrived at ${device}.`, {
    remedy: 'Look for who publishes to the order topic of this device.',
  });
}

export const signRecoveryStatement = (statement: RecoveryStatement, signers: readonly Signer[]): Buffer =>
  encodeEnvelope(signEnvelope(RECOVERY_TYPE, toPayload(statement), signers));

/** Threshold of the root role first, then the parser (docs/protocol.md, section 11). */
export function openRecoveryStatement(bytes: Uint8Array, root: KeySet): RecoveryStatement {
  const { payload } = verifyEnvelope(decodeEnvelope(bytes), RECOVERY_TYPE, root);
  const statement = parsePayload(RecoveryStatement, payload, 'recovery statement');
  parseKeySet(statement.director);
  return statement;
}

export const signReport = (report: Report, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(REPORT_TYPE, toPayload(report), [signer]));

/** Opens a report that arrived on `device`'s topic and must be signed by `device`'s key. */
export function openReport(bytes: Uint8Array, device: DeviceId, key: KeySet): Report {
  const frame = parsePayload(ReportFrame, verifyEnvelope(decodeEnvelope(bytes), REPORT_TYPE, key).payload, 'report');
  if (frame.deviceId !== device) {
    throw new ProtocolError(
      'MESSAGE_WRONG_DEVICE',
      `A report of ${frame.deviceId} arrived on the topic of ${device}.`,
      {
        remedy: 'Check the credentials on both devices; a copied data folder gives two devices one identity.',
      },
    );
  }
  if (!Object.hasOwn(REPORT_BODIES, frame.kind)) {
    throw new ProtocolError('MESSAGE_INVALID', `Reports of the kind ${JSON.stringify(frame.kind)} are not known.`, {
      remedy: 'Update the control plane: the agent is newer.',
    });
  }
  const body = validate(
    REPORT_BODIES[frame.kind as ReportKind],
    frame.body,
    (problems) =>
      new ProtocolError(
        'MESSAGE_INVALID',
        `The ${frame.kind} report of ${device} is malformed: ${formatProblems(problems)}.`,
        {
          remedy: 'Update whichever of agent and control plane is older.',
        },
      ),
  );
  return { ...frame, body } as Report;
}

export const signEnrolment = (request: EnrolmentRequest, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(ENROLMENT_TYPE, toPayload(request), [signer]));

export const openEnrolment = (bytes: Uint8Array): EnrolmentRequest =>
  openSelfSigned(EnrolmentRequest, ENROLMENT_TYPE, bytes, 'enrolment request');

export const signReadmission = (request: ReadmissionRequest, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(READMISSION_TYPE, toPayload(request), [signer]));

/** Proves that the sender has the key that it names, and nothing else: whether its certificate is for that key the caller has to see. */
export const openReadmission = (bytes: Uint8Array): ReadmissionRequest =>
  openSelfSigned(ReadmissionRequest, READMISSION_TYPE, bytes, 'readmission request');

/** The request names its own key: reading it before the check is unavoidable here, so the frame is parsed twice, the second time verified. */
function openSelfSigned<Schema extends typeof EnrolmentRequest | typeof ReadmissionRequest>(
  schema: Schema,
  type: string,
  bytes: Uint8Array,
  kind: string,
): Static<Schema> {
  const envelope = decodeEnvelope(bytes);
  const claimed = parsePayload(schema, Buffer.from(envelope.payload, 'base64'), kind);
  const { payload } = verifyEnvelope(envelope, type, { threshold: 1, keys: [claimed.publicKey] });
  return parsePayload(schema, payload, kind);
}

export const signRenewal = (request: RenewalRequest, signer: Signer): Buffer =>
  encodeEnvelope(signEnvelope(RENEWAL_TYPE, toPayload(request), [signer]));

/**
 * The request says whose key to check it by: its frame is read before the check, and the whole of it again after the check, as for an enrolment.
 *
 * @param keyOf the key on record; its errors (no such device, revoked) pass through
 */
export async function openRenewal(
  bytes: Uint8Array,
  keyOf: (device: DeviceId) => Promise<KeySet>,
): Promise<RenewalRequest> {
  const envelope = decodeEnvelope(bytes);
  const claimed = parsePayload(RenewalRequest, Buffer.from(envelope.payload, 'base64'), 'renewal request');
  const { payload } = verifyEnvelope(envelope, RENEWAL_TYPE, await keyOf(claimed.deviceId));
  return parsePayload(RenewalRequest, payload, 'renewal request');
}
