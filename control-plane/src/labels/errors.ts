import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const LABEL_CODES = {
  LABEL_REQUEST_GONE: { fault: 'caller', retryable: false },
  LABEL_REQUEST_ANSWERED: { fault: 'caller', retryable: false },
  LABEL_CLASS_UNKNOWN: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class LabelError extends CodedError<keyof typeof LABEL_CODES> {
  constructor(code: keyof typeof LABEL_CODES, what: string, facts: ErrorFacts) {
    super(LABEL_CODES, code, what, facts);
  }
}
