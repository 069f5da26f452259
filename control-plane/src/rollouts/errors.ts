import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const ROLLOUT_CODES = {
  ROLLOUT_UNKNOWN: { fault: 'caller', retryable: false },
  ROLLOUT_INVALID: { fault: 'caller', retryable: false },
  ROLLOUT_NO_DEVICES: { fault: 'caller', retryable: false },
  ROLLOUT_OVERLAP: { fault: 'caller', retryable: false },
  ROLLOUT_KIND_NOT_TAKEN: { fault: 'caller', retryable: false },
  ROLLOUT_PARAMETERS_INCOMPATIBLE: { fault: 'caller', retryable: false },
  ROLLOUT_TRANSITION_REFUSED: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class RolloutError extends CodedError<keyof typeof ROLLOUT_CODES> {
  constructor(code: keyof typeof ROLLOUT_CODES, what: string, facts: ErrorFacts) {
    super(ROLLOUT_CODES, code, what, facts);
  }
}
