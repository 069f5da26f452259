import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const STATISTICS_CODES = {
  /** A parameter outside its domain: an error rate of 2, a negative window. */
  STATISTICS_ARGUMENT: { fault: 'caller', retryable: false },
  /** Too few rows to promise the error rate that was asked for. */
  STATISTICS_TOO_FEW_ROWS: { fault: 'caller', retryable: false },
  /** A document (thresholds, state of a sequential test) that does not have its schema's form. */
  STATISTICS_INVALID: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export class StatisticsError extends CodedError<keyof typeof STATISTICS_CODES> {
  constructor(code: keyof typeof STATISTICS_CODES, what: string, facts: ErrorFacts) {
    super(STATISTICS_CODES, code, what, facts);
  }
}
