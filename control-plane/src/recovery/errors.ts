import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const RECOVERY_CODES = {
  BACKUP_TARGET_OCCUPIED: { fault: 'caller', retryable: false },
  BACKUP_SOURCE_MISSING: { fault: 'caller', retryable: false },
  BACKUP_FILE_DAMAGED: { fault: 'environment', retryable: false },
  BACKUP_INVALID: { fault: 'caller', retryable: false },
  BACKUP_UNWRITABLE: { fault: 'environment', retryable: true },
  RECOVERY_PENDING: { fault: 'caller', retryable: false },
  RECOVERY_STATEMENT_REFUSED: { fault: 'caller', retryable: false },
  RECOVERY_REQUEST_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class RecoveryError extends CodedError<keyof typeof RECOVERY_CODES> {
  constructor(code: keyof typeof RECOVERY_CODES, what: string, facts: ErrorFacts) {
    super(RECOVERY_CODES, code, what, facts);
  }
}
