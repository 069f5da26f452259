import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const DATABASE_CODES = {
  DATABASE_CORRUPT: { fault: 'environment', retryable: false },
  DATABASE_CORRUPT_REBUILT: { fault: 'environment', retryable: false },
  DATABASE_NEWER: { fault: 'caller', retryable: false },
  DATABASE_UNAVAILABLE: { fault: 'environment', retryable: false },
  DATABASE_DISK_FULL: { fault: 'environment', retryable: true },
  DATABASE_BUSY: { fault: 'environment', retryable: true },
} as const satisfies CodeTable;

export class DatabaseError extends CodedError<keyof typeof DATABASE_CODES> {
  constructor(code: keyof typeof DATABASE_CODES, what: string, facts: ErrorFacts) {
    super(DATABASE_CODES, code, what, facts);
  }
}

/** SQLite's result code (sqlite.org/rescode.html) of a thrown value, or undefined if it did not come from SQLite. */
export function sqliteCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return error.code.startsWith('SQLITE_') ? error.code : undefined;
}

/** Corrupt pages, or a file that is no database at all. */
export function isCorruption(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return code !== undefined && (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB');
}

/** Turns what the driver throws in the middle of a query into a coded error; anything else is handed back as it is. */
export function toDatabaseError(error: unknown): unknown {
  const code = sqliteCodeOf(error);
  if (code === 'SQLITE_FULL' || code?.startsWith('SQLITE_IOERR_WRITE') === true) {
    return new DatabaseError('DATABASE_DISK_FULL', 'The disk of the control plane is full: nothing was stored.', {
      remedy: 'Free space on the disk of the data directory, then repeat the request.',
      cause: error,
    });
  }
  if (code?.startsWith('SQLITE_BUSY') === true) {
    return new DatabaseError('DATABASE_BUSY', 'Another process holds the database.', {
      remedy:
        'Repeat the request; if it goes on, look for a second control plane or a backup tool on the same data directory.',
      cause: error,
    });
  }
  if (isCorruption(error)) {
    return new DatabaseError('DATABASE_CORRUPT', 'The database is damaged: SQLite found bad pages.', {
      remedy: 'Stop the control plane, restore a backup of its data directory, and check the disk.',
      cause: error,
    });
  }
  return error;
}
