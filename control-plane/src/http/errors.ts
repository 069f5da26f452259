import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const HTTP_CODES = {
  AUTH_REQUIRED: { fault: 'caller', retryable: false },
  AUTH_INVALID: { fault: 'caller', retryable: false },
  AUTH_FORBIDDEN: { fault: 'caller', retryable: false },
  REQUEST_INVALID: { fault: 'caller', retryable: false },
  REQUEST_TOO_LARGE: { fault: 'caller', retryable: false },
  REQUEST_MEDIA_TYPE: { fault: 'caller', retryable: false },
  ROUTE_UNKNOWN: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class HttpError extends CodedError<keyof typeof HTTP_CODES> {
  constructor(code: keyof typeof HTTP_CODES, what: string, facts: ErrorFacts) {
    super(HTTP_CODES, code, what, facts);
  }
}
