import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const DEVICE_CODES = {
  DEVICE_UNKNOWN: { fault: 'caller', retryable: false },
  DEVICE_ID_TAKEN: { fault: 'caller', retryable: false },
  DEVICE_ID_RESERVED: { fault: 'caller', retryable: false },
  READMISSION_REFUSED: { fault: 'caller', retryable: false },
  DEVICE_REVOKED: { fault: 'caller', retryable: false },
  CLAIM_TOKEN_UNKNOWN: { fault: 'caller', retryable: false },
  CLAIM_TOKEN_EXPIRED: { fault: 'caller', retryable: false },
  CLAIM_TOKEN_SPENT: { fault: 'caller', retryable: false },
  CLAIM_TOKEN_WRONG_DEVICE: { fault: 'caller', retryable: false },
  SELECTOR_EMPTY: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class DeviceError extends CodedError<keyof typeof DEVICE_CODES> {
  constructor(code: keyof typeof DEVICE_CODES, what: string, facts: ErrorFacts) {
    super(DEVICE_CODES, code, what, facts);
  }
}
