import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const PACK_CODES = {
  PACK_UNKNOWN: { fault: 'caller', retryable: false },
  PACK_BUSY: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class PackError extends CodedError<keyof typeof PACK_CODES> {
  constructor(code: keyof typeof PACK_CODES, what: string, facts: ErrorFacts) {
    super(PACK_CODES, code, what, facts);
  }
}
