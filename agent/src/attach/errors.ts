import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const ATTACH_CODES = {
  /** No application of this device is configured for the model. */
  ATTACH_NOT_CONFIGURED: { fault: 'caller', retryable: false },
  /** The link or the folders beside it cannot be written, or something else lies there. */
  ATTACH_PATH_UNUSABLE: { fault: 'environment', retryable: false },
  /** A copy of a file is not what was copied. */
  ATTACH_COPY_DAMAGED: { fault: 'environment', retryable: false },
  ATTACH_RELOAD_FAILED: { fault: 'environment', retryable: false },
  /** The application did not say in time that it loaded the release. */
  ATTACH_NOT_LOADED: { fault: 'peer', retryable: false },
  /** The application said that it cannot load the release. */
  ATTACH_LOAD_REFUSED: { fault: 'peer', retryable: false },
  ATTACH_SELF_TEST_FAILED: { fault: 'caller', retryable: false },
  ATTACH_UNHEALTHY: { fault: 'peer', retryable: true },
  /** Its connection ended without a farewell. */
  ATTACH_APPLICATION_LOST: { fault: 'peer', retryable: true },
  /** The application runs something else than what lies at its path. */
  ATTACH_OTHER_MODEL: { fault: 'peer', retryable: false },
  OBSERVE_PROCESS_DIED: { fault: 'environment', retryable: true },
  OBSERVE_SOCKET_UNUSABLE: { fault: 'environment', retryable: false },
  OBSERVE_INVALID: { fault: 'caller', retryable: false },
  OBSERVE_TOO_LARGE: { fault: 'caller', retryable: false },
  OBSERVE_TOO_FAST: { fault: 'caller', retryable: true },
  OBSERVE_CROWDED: { fault: 'caller', retryable: true },
  /** What the application has loaded, by its own word, is no release that this device knows. */
  OBSERVE_NOT_LOADED: { fault: 'caller', retryable: true },
} as const satisfies CodeTable;

export type AttachCode = keyof typeof ATTACH_CODES;

export class AttachError extends CodedError<AttachCode> {
  constructor(code: AttachCode, what: string, facts: ErrorFacts) {
    super(ATTACH_CODES, code, what, facts);
  }
}
