import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

/** What a request meets too: a revocation has to be told to the broker. */
export const BROKER_TRUST_CODES = {
  BROKER_TRUST_UNWRITABLE: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export const BROKER_CODES = {
  PORT_IN_USE: { fault: 'environment', retryable: false },
  BROKER_LISTEN_FAILED: { fault: 'environment', retryable: false },
  BROKER_TOPIC_REFUSED: { fault: 'peer', retryable: false },
  BROKER_CREDENTIAL_REFUSED: { fault: 'peer', retryable: false },
  BROKER_PACKET_TOO_LARGE: { fault: 'peer', retryable: false },
  BROKER_UNREACHABLE: { fault: 'environment', retryable: true },
  BROKER_CLOSED: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

const CODES = { ...BROKER_TRUST_CODES, ...BROKER_CODES };

export class BrokerError extends CodedError<keyof typeof CODES> {
  constructor(code: keyof typeof CODES, what: string, facts: ErrorFacts) {
    super(CODES, code, what, facts);
  }
}
