import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const LINK_CODES = {
  LINK_UNREACHABLE: { fault: 'environment', retryable: true },
  LINK_REFUSED: { fault: 'peer', retryable: true },
  LINK_PROXY_UNREACHABLE: { fault: 'environment', retryable: true },
  LINK_PROXY_REFUSED: { fault: 'environment', retryable: false },
  LINK_SERVER_UNTRUSTED: { fault: 'peer', retryable: false },
  LINK_SERVER_EXPIRED: { fault: 'peer', retryable: true },
  LINK_SERVER_NOT_YET_VALID: { fault: 'environment', retryable: true },
  LINK_SERVER_NAME_WRONG: { fault: 'peer', retryable: false },
  LINK_CERTIFICATE_REFUSED: { fault: 'peer', retryable: true },
  LINK_TLS_FAILED: { fault: 'peer', retryable: true },
  LINK_ANSWER_UNREADABLE: { fault: 'peer', retryable: true },
  LINK_LOST: { fault: 'environment', retryable: true },
  OUTBOX_OVERFLOW: { fault: 'environment', retryable: true },
  OUTBOX_REPORT_TOO_LARGE: { fault: 'bug', retryable: false },
} as const satisfies CodeTable;

export class LinkError extends CodedError<keyof typeof LINK_CODES> {
  constructor(code: keyof typeof LINK_CODES, what: string, facts: ErrorFacts) {
    super(LINK_CODES, code, what, facts);
  }
}
