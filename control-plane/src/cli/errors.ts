import { CodedError, type CodeTable, type ErrorFacts, type Fault } from '@drover/shared/coded-error';

export const CLI_CODES = {
  CLI_USAGE: { fault: 'caller', retryable: false },
  CLI_NOT_LOGGED_IN: { fault: 'caller', retryable: false },
  CLI_UNREACHABLE: { fault: 'environment', retryable: true },
  CLI_ANSWER_UNREADABLE: { fault: 'peer', retryable: false },
  CLI_FILE_UNREADABLE: { fault: 'caller', retryable: false },
  CLI_INTERRUPTED: { fault: 'caller', retryable: true },
  CLI_BUNDLE_UNREADABLE: { fault: 'caller', retryable: false },
  CLI_ORDERS_WITHHELD: { fault: 'caller', retryable: false },
  CLI_FILE_EXISTS: { fault: 'caller', retryable: false },
  CLI_FILE_UNWRITABLE: { fault: 'environment', retryable: false },
  CLI_PASSPHRASE_NEEDED: { fault: 'caller', retryable: false },
  CLI_KEY_NOT_ASKED_FOR: { fault: 'caller', retryable: false },
  CLI_SIGNATURES_MISSING: { fault: 'caller', retryable: false },
  CLI_KEYS_BELOW_THRESHOLD: { fault: 'caller', retryable: false },
  CLI_NEEDS_CONSENT: { fault: 'caller', retryable: false },
  CLI_ROLLOUT_NOT_COMPLETED: { fault: 'peer', retryable: false },
  CLI_AUDIT_BROKEN: { fault: 'environment', retryable: false },
  CLI_DOCTOR_FAILED: { fault: 'environment', retryable: false },
  CLI_RUNTIME_MISSING: { fault: 'environment', retryable: false },
  CLI_MODEL_FAILED: { fault: 'caller', retryable: false },
  CLI_MODEL_AXES_VARIABLE: { fault: 'caller', retryable: false },
  CLI_GOLDEN_UNFIT: { fault: 'caller', retryable: false },
  CLI_GOLDEN_DIFFERS: { fault: 'caller', retryable: false },
  CLI_SAMPLES_UNFIT: { fault: 'caller', retryable: false },
  CLI_EXPECTATIONS_UNSUPPORTED: { fault: 'caller', retryable: false },
  CLI_LABELS_UNFIT: { fault: 'caller', retryable: false },
  CLI_ANSWERS_UNFIT: { fault: 'caller', retryable: false },
  CLI_ANSWERS_REFUSED: { fault: 'caller', retryable: false },
  CLI_STATE_UNFIT: { fault: 'caller', retryable: false },
  /** What a task needs cannot be told from the model, and was not said. */
  CLI_TASK_UNCLEAR: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class CliError extends CodedError<keyof typeof CLI_CODES> {
  constructor(code: keyof typeof CLI_CODES, what: string, facts: ErrorFacts) {
    super(CLI_CODES, code, what, facts);
  }
}

/** An error that the control plane answered with: shown as it came. */
export class RemoteError extends CodedError {
  readonly status: number;

  constructor(status: number, code: string, what: string, facts: ErrorFacts & { fault: Fault }) {
    super({ [code]: { fault: facts.fault, retryable: status >= 500 } }, code, what, facts);
    this.status = status;
  }
}
