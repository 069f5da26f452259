import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const IDENTITY_CODES = {
  IDENTITY_NOT_ENROLLED: { fault: 'caller', retryable: false },
  IDENTITY_DAMAGED: { fault: 'environment', retryable: false },
  IDENTITY_MISMATCH: { fault: 'peer', retryable: false },
  IDENTITY_UNKNOWN: { fault: 'peer', retryable: true },
  IDENTITY_REVOKED: { fault: 'caller', retryable: false },
  IDENTITY_CA_UNREADABLE: { fault: 'caller', retryable: false },
  ENROLMENT_REFUSED: { fault: 'caller', retryable: false },
  ENROLMENT_UNREACHABLE: { fault: 'environment', retryable: true },
  ENROLMENT_ANSWER_INVALID: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class IdentityError extends CodedError<keyof typeof IDENTITY_CODES> {
  constructor(code: keyof typeof IDENTITY_CODES, what: string, facts: ErrorFacts) {
    super(IDENTITY_CODES, code, what, facts);
  }
}
