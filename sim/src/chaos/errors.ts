import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const TRIAL_CODES = {
  FLAG_WITHOUT_EFFECT: { fault: 'caller', retryable: false },
  EPISODE_UNREADABLE: { fault: 'caller', retryable: false },
  SAVED_RUN_UNREADABLE: { fault: 'caller', retryable: false },
  SAVED_RUN_DIFFERENT: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

/** A long trial that was asked wrongly. */
export class TrialError extends CodedError<keyof typeof TRIAL_CODES> {
  constructor(code: keyof typeof TRIAL_CODES, what: string, facts: ErrorFacts) {
    super(TRIAL_CODES, code, what, facts);
  }
}
