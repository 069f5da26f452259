import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const TELEMETRY_CODES = {
  REPORT_TOPIC_UNKNOWN: { fault: 'peer', retryable: false },
  /** The same bytes again: sent twice because a PUBACK was lost, or played back by somebody. */
  REPORT_REPEATED: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class TelemetryError extends CodedError<keyof typeof TELEMETRY_CODES> {
  constructor(code: keyof typeof TELEMETRY_CODES, what: string, facts: ErrorFacts) {
    super(TELEMETRY_CODES, code, what, facts);
  }
}
