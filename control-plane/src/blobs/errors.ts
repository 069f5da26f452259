import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const BLOB_CODES = {
  BLOB_DIGEST_MISMATCH: { fault: 'caller', retryable: false },
  BLOB_TOO_LARGE: { fault: 'caller', retryable: false },
  BLOB_DISK_FULL: { fault: 'environment', retryable: true },
  BLOB_UPLOAD_BROKEN: { fault: 'peer', retryable: true },
  BLOB_STORE_UNAVAILABLE: { fault: 'environment', retryable: false },
  BLOB_UNKNOWN: { fault: 'caller', retryable: false },
  BLOB_RANGE_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class BlobError extends CodedError<keyof typeof BLOB_CODES> {
  constructor(code: keyof typeof BLOB_CODES, what: string, facts: ErrorFacts) {
    super(BLOB_CODES, code, what, facts);
  }
}

export const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** What the file system throws, as a coded error. */
export function toStoreError(directory: string, cause: unknown): BlobError {
  const errno = errnoOf(cause);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new BlobError('BLOB_DISK_FULL', 'The disk of the control plane is full: the file was not stored.', {
      where: directory,
      remedy: 'Free space on that disk, then upload again.',
      cause,
    });
  }
  return new BlobError(
    'BLOB_STORE_UNAVAILABLE',
    `The file store failed: ${cause instanceof Error ? cause.message : String(cause)}.`,
    {
      where: directory,
      remedy: 'Check that the directory exists and belongs to the user of the control plane.',
      cause,
    },
  );
}
