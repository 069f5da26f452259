import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const AGENT_CODES = {
  AGENT_ALREADY_RUNNING: { fault: 'caller', retryable: false },
  AGENT_NOT_RUNNING: { fault: 'caller', retryable: true },
  AGENT_NOT_ANSWERING: { fault: 'environment', retryable: true },
  AGENT_DATA_DIR_UNUSABLE: { fault: 'environment', retryable: false },
  TUNING_GIVEN_UP: { fault: 'environment', retryable: false },
} as const satisfies CodeTable;

export class AgentError extends CodedError<keyof typeof AGENT_CODES> {
  constructor(code: keyof typeof AGENT_CODES, what: string, facts: ErrorFacts) {
    super(AGENT_CODES, code, what, facts);
  }
}
