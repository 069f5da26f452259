import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const HOST_CODES = {
  HOST_DISK_FULL: { fault: 'environment', retryable: true },
  HOST_FILE_UNWRITABLE: { fault: 'environment', retryable: true },
  HOST_CLOCK_BEHIND: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class HostError extends CodedError<keyof typeof HOST_CODES> {
  constructor(code: keyof typeof HOST_CODES, what: string, facts: ErrorFacts) {
    super(HOST_CODES, code, what, facts);
  }
}

/** The `code` of a Node system error (`ENOENT`, …), undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** What a failed write means for the operator. Errors that are no system errors pass through unchanged. */
export function toWriteError(error: unknown, file: string): unknown {
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new HostError('HOST_DISK_FULL', 'The disk is full.', {
        where: file,
        remedy: 'Free space on this file system; the agent tries again by itself.',
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'EIO':
      return new HostError('HOST_FILE_UNWRITABLE', `The file cannot be written: ${(error as Error).message}.`, {
        where: file,
        remedy: "Give the agent's user write access to its data folder, and check the file system for errors (dmesg).",
        cause: error,
      });
    default:
      return error;
  }
}
