import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const BROKER_CODES = {
  PORT_IN_USE: { fault: 'environment', retryable: false },
  BROKER_LISTEN_FAILED: { fault: 'environment', retryable: false },
  BROKER_TOPIC_REFUSED: { fault: 'peer', retryable: false },
  BROKER_CREDENTIAL_REFUSED: { fault: 'peer', retryable: false },
  BROKER_PACKET_TOO_LARGE: { fault: 'peer', retryable: false },
  BROKER_UNREACHABLE: { fault: 'environment', retryable: true },
  BROKER_CLOSED: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class BrokerError extends CodedError<keyof typeof BROKER_CODES> {
  constructor(code: keyof typeof BROKER_CODES, what: string, facts: ErrorFacts) {
    super(BROKER_CODES, code, what, facts);
  }
}
