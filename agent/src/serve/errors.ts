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
  SERVE_CLOSED: { fault: 'caller', retryable: false },
  SERVE_OVERLOADED: { fault: 'environment', retryable: true },
  /** Its deadline passed while it waited. */
  REQUEST_EXPIRED: { fault: 'caller', retryable: true },
  /** Its client closed the connection while it waited. */
  REQUEST_CANCELLED: { fault: 'caller', retryable: true },
  REQUEST_INVALID: { fault: 'caller', retryable: false },
  REQUEST_TOO_LARGE: { fault: 'caller', retryable: false },
  /** Shared memory was asked for, and `serve.sharedMemory` is off. */
  SHARED_MEMORY_OFF: { fault: 'caller', retryable: false },
  MODEL_NOT_SERVED: { fault: 'caller', retryable: true },
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

const isServeCode = (code: string): code is ServeCode => Object.hasOwn(SERVE_CODES, code);

/** The error again, after it travelled as JSON between processes or threads. */
export const fromCodedErrorJson = (json: CodedErrorJson): CodedError =>
  isServeCode(json.code) ? new ServeError(json.code, json.what, json) : new ForeignError(json);
