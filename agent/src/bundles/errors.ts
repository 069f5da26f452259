import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const IMPORT_CODES = {
  IMPORT_FILE_UNREADABLE: { fault: 'caller', retryable: false },
  IMPORT_DISK_FULL: { fault: 'environment', retryable: true },
  IMPORT_NOT_ALLOWED: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class ImportError extends CodedError<keyof typeof IMPORT_CODES> {
  constructor(code: keyof typeof IMPORT_CODES, what: string, facts: ErrorFacts) {
    super(IMPORT_CODES, code, what, facts);
  }
}
