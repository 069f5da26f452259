import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const MANIFEST_CODES = {
  MANIFEST_INVALID: { fault: 'caller', retryable: false },
  MANIFEST_NO_VARIANT: { fault: 'caller', retryable: false },
  GOLDEN_VECTORS_INVALID: { fault: 'caller', retryable: false },
  SAMPLES_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class ManifestError extends CodedError<keyof typeof MANIFEST_CODES> {
  constructor(code: keyof typeof MANIFEST_CODES, what: string, facts: ErrorFacts) {
    super(MANIFEST_CODES, code, what, facts);
  }
}
