import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const MONITOR_CODES = {
  /** The telemetry thread ended; the next call starts another. */
  TELEMETRY_THREAD_DIED: { fault: 'environment', retryable: true },
  /** More was served than the disk can take; samples were dropped, counts were kept as far as possible. */
  TELEMETRY_OVERLOADED: { fault: 'environment', retryable: true },
  /** The reference profile or the thresholds of a release cannot be used; drift of this release is not watched. */
  DRIFT_REFERENCE_UNUSABLE: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export type MonitorCode = keyof typeof MONITOR_CODES;

export class MonitorError extends CodedError<MonitorCode> {
  constructor(code: MonitorCode, what: string, facts: ErrorFacts) {
    super(MONITOR_CODES, code, what, facts);
  }
}
