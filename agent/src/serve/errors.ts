import { CodedError, type CodedErrorJson, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const SERVE_CODES = {
  /** The runtime cannot read the file, or the file is not what its manifest signs. */
  MODEL_UNLOADABLE: { fault: 'caller', retryable: false },
  /** The model loaded, but a run of it failed. */
  MODEL_RUN_FAILED: { fault: 'caller', retryable: false },
  /** None of the configured execution providers works on this machine. */
  PROVIDER_UNAVAILABLE: { fault: 'environment', retryable: false },
  SELF_TEST_FAILED: { fault: 'caller', retryable: false },
  /** The probe process died of the candidate. */
  SELF_TEST_CRASHED: { fault: 'caller', retryable: false },
  SELF_TEST_TIMEOUT: { fault: 'caller', retryable: false },
  PORT_IN_USE: { fault: 'environment', retryable: true },
  /** The configured address is not one of this machine's, or may not be bound. */
  SERVE_ADDRESS_UNUSABLE: { fault: 'environment', retryable: false },
  /** The inference process ended while it was asked something; it is started again. */
  INFERENCE_PROCESS_DIED: { fault: 'environment', retryable: true },
  /** It was too large, and another took its place. */
  INFERENCE_RECYCLED: { fault: 'environment', retryable: true },
  SERVE_CLOSED: { fault: 'caller', retryable: false },
  SERVE_OVERLOADED: { fault: 'environment', retryable: true },
  /** Its deadline passed while it waited. */
  REQUEST_EXPIRED: { fault: 'caller', retryable: true },
  /** Its client closed the connection while it waited. */
  REQUEST_CANCELLED: { fault: 'caller', retryable: true },
  REQUEST_INVALID: { fault: 'caller', retryable: false },
  /** A row of the request breaks a rule of the release, which has such requests refused. */
  INPUT_CONTRACT_VIOLATED: { fault: 'caller', retryable: false },
  REQUEST_TOO_LARGE: { fault: 'caller', retryable: false },
  /** Shared memory was asked for, and `serve.sharedMemory` is off. */
  SHARED_MEMORY_OFF: { fault: 'caller', retryable: false },
  /** Its state was never there, has ended or has timed out. */
  SEQUENCE_UNKNOWN: { fault: 'caller', retryable: false },
  /** Another release took over, or the process was started again. */
  SEQUENCE_LOST: { fault: 'environment', retryable: false },
  /** As many as the release allows, or as much state as the device keeps. */
  SEQUENCE_LIMIT: { fault: 'environment', retryable: true },
  MODEL_NOT_SERVED: { fault: 'caller', retryable: true },
  /** Nothing of the request is kept (any more). */
  FEEDBACK_SAMPLE_GONE: { fault: 'caller', retryable: false },
  /** All rows have other labels, which stay. */
  FEEDBACK_CONFLICTS: { fault: 'caller', retryable: false },
  /** It was stopped before another release of it is loaded, because there is no memory for both. */
  MODEL_BEING_REPLACED: { fault: 'environment', retryable: true },
  /** A candidate would not fit into the memory of the device. */
  MEMORY_INSUFFICIENT: { fault: 'environment', retryable: true },
  /** A release was stopped before the next was loaded; tells for how long nothing was served. */
  MODEL_STOPPED_FIRST: { fault: 'environment', retryable: true },
  /** Nothing of this id was asked for, or that is forgotten. */
  LABEL_REQUEST_UNKNOWN: { fault: 'caller', retryable: false },
  PARAMETERS_NOT_IN_FORCE: { fault: 'caller', retryable: true },
  PARAMETERS_REJECTED: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export type ServeCode = keyof typeof SERVE_CODES;

export class ServeError extends CodedError<ServeCode> {
  constructor(code: ServeCode, what: string, facts: ErrorFacts) {
    super(SERVE_CODES, code, what, facts);
  }
}

/** An error of another domain that crossed a process or thread boundary: keeps its code and its remedy, and loses its class. */
export class ForeignError extends CodedError {
  constructor(json: CodedErrorJson) {
    super({ [json.code]: { fault: 'environment', retryable: false } }, json.code, json.what, json);
  }
}

export function notServed(model: string, version?: string): ServeError {
  const wanted = version === undefined ? model : `${model} ${version}`;
  return new ServeError('MODEL_NOT_SERVED', `${JSON.stringify(wanted.slice(0, 200))} is not served here.`, {
    remedy: 'List what is served with POST /v2/repository/index.',
  });
}

const isServeCode = (code: string): code is ServeCode => Object.hasOwn(SERVE_CODES, code);

/** The error again, after it travelled as JSON between processes or threads. */
export const fromCodedErrorJson = (json: CodedErrorJson): CodedError =>
  isServeCode(json.code) ? new ServeError(json.code, json.what, json) : new ForeignError(json);
