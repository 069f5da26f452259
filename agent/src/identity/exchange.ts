import { Type, type Static, type TSchema } from 'typebox';
import { formatProblems, validate } from '@drover/shared/validation';
import { LinkError, readBody, type HttpFetch } from '../link/index.js';
import { IdentityError } from './errors.js';

/** One small JSON document to the control plane, or none, and one back. */
export interface Exchange<Schema extends TSchema> {
  readonly url: string;
  /** Absent: GET. */
  readonly body?: Uint8Array;
  readonly answer: Schema;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch: HttpFetch;
}

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024;

const Refusal = Type.Object({
  error: Type.Object({ code: Type.String(), what: Type.String(), remedy: Type.String() }),
});

/** @throws IdentityError ENROLMENT_UNREACHABLE, ENROLMENT_REFUSED, IDENTITY_REVOKED, IDENTITY_UNKNOWN, ENROLMENT_ANSWER_INVALID */
export async function exchange<Schema extends TSchema>(options: Exchange<Schema>): Promise<Static<Schema>> {
  const { url, body, answer, fetch: request } = options;
  let status: number;
  let text: string;
  try {
    const response = await request(url, {
      ...(body
        ? {
            method: 'POST',
            body: new Uint8Array(body),
            headers: { 'content-type': 'application/json', ...options.headers },
          }
        : {}),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    status = response.status;
    text = (await readBody(response, MAX_ANSWER_BYTES)).toString('utf8');
  } catch (cause) {
    if (cause instanceof LinkError && cause.code === 'LINK_ANSWER_UNREADABLE')
      throw invalidAnswer(url, reasonOf(cause), cause);
    throw new IdentityError('ENROLMENT_UNREACHABLE', `The control plane does not answer: ${reasonOf(cause)}.`, {
      where: url,
      remedy:
        'Check the address, the network and whether the control plane runs; then enrol again. If it says that the claim token was spent, make a new one.',
      cause,
    });
  }
  if (status >= 500) {
    throw new IdentityError(
      'ENROLMENT_UNREACHABLE',
      `The control plane failed with status ${status}: ${text.slice(0, 500)}`,
      {
        where: url,
        remedy:
          'Look at the log of the control plane; then enrol again. If it says that the claim token was spent, make a new one.',
      },
    );
  }
  const json = parseJson(text, url);
  if (status !== 201 && status !== 200) throw refusal(status, json, url);
  return validate(answer, json, (problems) => invalidAnswer(url, formatProblems(problems)));
}

/** What the device acts on by itself, by the code of the control plane. */
const CODE_OF: Readonly<Record<string, 'IDENTITY_REVOKED' | 'IDENTITY_UNKNOWN'>> = {
  DEVICE_REVOKED: 'IDENTITY_REVOKED',
  DEVICE_UNKNOWN: 'IDENTITY_UNKNOWN',
};

function refusal(status: number, json: unknown, url: string): IdentityError {
  const { error } = validate(Refusal, json, () => invalidAnswer(url, `status ${status} without a reason`));
  return new IdentityError(
    CODE_OF[error.code] ?? 'ENROLMENT_REFUSED',
    `The control plane refused (${error.code}): ${error.what}`,
    {
      where: url,
      remedy: error.remedy,
    },
  );
}

export const invalidAnswer = (url: string, why: string, cause?: unknown) =>
  new IdentityError('ENROLMENT_ANSWER_INVALID', `The answer is not that of a control plane: ${why}.`, {
    where: url,
    remedy: 'Check the address; a proxy or another server may answer there.',
    cause,
  });

function parseJson(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer(url, 'it is not JSON', cause);
  }
}

/** Node's `fetch` says only "fetch failed"; the reason is its cause. Our own errors speak for themselves. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message } =
    error.cause instanceof Error && error.name === 'TypeError' && error.cause.message !== '' ? error.cause : error;
  return message.replace(/\.$/, '');
}
