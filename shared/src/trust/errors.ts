import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const TRUST_CODES = {
  SIGNATURE_INVALID: { fault: 'peer', retryable: false },
  SIGNATURE_BELOW_THRESHOLD: { fault: 'peer', retryable: false },
  ENVELOPE_MALFORMED: { fault: 'peer', retryable: false },
  ENVELOPE_TYPE_WRONG: { fault: 'peer', retryable: false },
  KEY_MALFORMED: { fault: 'caller', retryable: false },
  KEY_PASSPHRASE_WRONG: { fault: 'caller', retryable: false },
  KEY_PASSPHRASE_WEAK: { fault: 'caller', retryable: false },
  PROPOSAL_MALFORMED: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class TrustError extends CodedError<keyof typeof TRUST_CODES> {
  constructor(code: keyof typeof TRUST_CODES, what: string, facts: ErrorFacts) {
    super(TRUST_CODES, code, what, facts);
  }
}
