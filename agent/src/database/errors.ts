import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const DATABASE_CODES = {
  DATABASE_REBUILT: { fault: 'environment', retryable: false },
  DATABASE_SCHEMA_NEWER: { fault: 'caller', retryable: false },
  DATABASE_CORRUPT: { fault: 'environment', retryable: false },
  DATABASE_DISK_FULL: { fault: 'environment', retryable: true },
  DATABASE_UNAVAILABLE: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class DatabaseError extends CodedError<keyof typeof DATABASE_CODES> {
  constructor(code: keyof typeof DATABASE_CODES, what: string, facts: ErrorFacts) {
    super(DATABASE_CODES, code, what, facts);
  }
}

/** The primary code of an SQLite error (https://sqlite.org/rescode.html): `SQLITE_IOERR_WRITE` is `SQLITE_IOERR`. */
function primaryCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? /^SQLITE_[A-Z]+/.exec(code)?.[0] : undefined;
}

/** True for the errors after which the bytes of the file can't be believed. */
export const isCorruption = (error: unknown): boolean =>
  ['SQLITE_CORRUPT', 'SQLITE_NOTADB', 'SQLITE_FORMAT'].includes(primaryCode(error) ?? '');

/** What a failed statement means for the operator. Anything that did not come from SQLite passes through unchanged. */
export function toDatabaseError(error: unknown, file: string): unknown {
  const code = primaryCode(error);
  if (code === undefined) return error;
  const facts = { where: file, cause: error };
  if (isCorruption(error)) {
    return new DatabaseError('DATABASE_CORRUPT', 'The database file is damaged.', {
      ...facts,
      remedy: 'Restart the agent: it keeps the damaged file aside and builds a new one.',
    });
  }
  if (code === 'SQLITE_FULL') {
    return new DatabaseError('DATABASE_DISK_FULL', 'The disk is full; the database cannot grow.', {
      ...facts,
      remedy: 'Free space on this file system; the agent tries again by itself.',
    });
  }
  if (
    ['SQLITE_BUSY', 'SQLITE_LOCKED', 'SQLITE_CANTOPEN', 'SQLITE_IOERR', 'SQLITE_READONLY', 'SQLITE_PERM'].includes(code)
  ) {
    return new DatabaseError('DATABASE_UNAVAILABLE', `The database cannot be used: ${(error as Error).message}.`, {
      ...facts,
      remedy:
        "Check that the folder exists and belongs to the agent's user, that no second agent uses it, and that the disk is sound.",
    });
  }
  return error;
}
