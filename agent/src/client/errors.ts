import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const CLIENT_CODES = {
  /** Nothing answers there, or not to the end. */
  INFERENCE_UNREACHABLE: { fault: 'environment', retryable: true },
  /** The agent said no; `agentCode` says why. */
  INFERENCE_DENIED: { fault: 'caller', retryable: false },
  /** The agent has more to do than it can, or the request waited too long. */
  INFERENCE_OVERLOADED: { fault: 'environment', retryable: true },
  /** What answered does not speak the Open Inference Protocol. */
  INFERENCE_ANSWER_UNREADABLE: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class InferenceClientError extends CodedError<keyof typeof CLIENT_CODES> {
  /** Of the agent (docs/errors.md), such as MODEL_NOT_SERVED. */
  readonly agentCode: string | undefined;

  constructor(code: keyof typeof CLIENT_CODES, what: string, facts: ErrorFacts & { readonly agentCode?: string }) {
    super(CLIENT_CODES, code, what, facts);
    this.agentCode = facts.agentCode;
  }
}
