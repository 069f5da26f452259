import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const TRIAL_CODES = {
  TRIAL_UNKNOWN: { fault: 'caller', retryable: false },
  TRIAL_INVALID: { fault: 'caller', retryable: false },
  TRIAL_NO_DEVICES: { fault: 'caller', retryable: false },
  TRIAL_OVERLAP: { fault: 'caller', retryable: false },
  TRIAL_NOT_TAKEN: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class TrialError extends CodedError<keyof typeof TRIAL_CODES> {
  constructor(code: keyof typeof TRIAL_CODES, what: string, facts: ErrorFacts) {
    super(TRIAL_CODES, code, what, facts);
  }
}
