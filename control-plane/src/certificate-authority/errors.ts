import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const AUTHORITY_CODES = {
  AUTHORITY_DAMAGED: { fault: 'environment', retryable: false },
  AUTHORITY_UNKNOWN: { fault: 'caller', retryable: false },
  AUTHORITY_IN_USE: { fault: 'caller', retryable: false },
  SERVER_CERTIFICATE_UNREADABLE: { fault: 'environment', retryable: false },
  CERTIFICATE_REQUEST_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class AuthorityError extends CodedError<keyof typeof AUTHORITY_CODES> {
  constructor(code: keyof typeof AUTHORITY_CODES, what: string, facts: ErrorFacts) {
    super(AUTHORITY_CODES, code, what, facts);
  }
}
