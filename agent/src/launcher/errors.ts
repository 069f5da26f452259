import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const LAUNCHER_CODES = {
  LAUNCHER_USAGE: { fault: 'caller', retryable: false },
  LAUNCHER_NO_SLOT: { fault: 'environment', retryable: false },
  LAUNCHER_RECORD_UNWRITABLE: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class LauncherError extends CodedError<keyof typeof LAUNCHER_CODES> {
  constructor(code: keyof typeof LAUNCHER_CODES, what: string, facts: ErrorFacts) {
    super(LAUNCHER_CODES, code, what, facts);
  }
}
