import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const GOVERNANCE_CODES = {
  TOKEN_NAME_TAKEN: { fault: 'caller', retryable: false },
  TOKEN_UNKNOWN: { fault: 'caller', retryable: false },
  TOKEN_LAST_ADMIN: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class GovernanceError extends CodedError<keyof typeof GOVERNANCE_CODES> {
  constructor(code: keyof typeof GOVERNANCE_CODES, what: string, facts: ErrorFacts) {
    super(GOVERNANCE_CODES, code, what, facts);
  }
}
