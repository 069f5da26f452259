import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { DatabaseError, isCorruption } from './errors.js';
import { migrate, type Migration } from './migrate.js';
import { MIGRATIONS } from './migrations/index.js';
import type { Db, Tables } from './tables.js';

export interface OpenDatabase {
  /** Path of the SQLite file; its folder is made if it is missing. */
  readonly file: string;
  /** Permission to put a damaged file aside and begin empty. Without it a damaged file is refused. */
  readonly rebuild?: boolean;
  /** Is told what was rebuilt (DATABASE_CORRUPT_REBUILT); it must reach a person. */
  readonly onIncident?: (incident: DatabaseError) => void;
  readonly now?: () => number;
  readonly migrations?: readonly Migration[];
}

/** Other processes (a backup, the sqlite3 shell) may hold the lock for a moment. */
const BUSY_TIMEOUT_MS = 5000;

/**
 * Opens the control plane's database and migrates it. It holds what cannot be made again (enrolments, counters, audit), so damage is
 * never repaired silently: the process refuses to start unless it is told to go on with an empty one.
 *
 * @throws DatabaseError DATABASE_CORRUPT, DATABASE_NEWER, DATABASE_UNAVAILABLE
 */
export async function openDatabase(options: OpenDatabase): Promise<Db> {
  const { file, rebuild = false, onIncident, now = Date.now, migrations = MIGRATIONS } = options;
  let connection: SqliteDatabase.Database;
  try {
    connection = connect(file);
  } catch (cause) {
    if (!isCorruption(cause)) throw unavailable(file, cause);
    if (!rebuild) throw corrupt(file, cause);
    const aside = keepAside(file, now());
    connection = connect(file);
    onIncident?.(
      new DatabaseError('DATABASE_CORRUPT_REBUILT', `The database was damaged and has been begun anew, empty.`, {
        where: aside,
        remedy:
          'The damaged file is kept under the name above. Restore a backup if there is one; otherwise enrol devices and publish again.',
        cause,
      }),
    );
  }
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: connection }) });
  try {
    await migrate(db, migrations, now);
  } catch (error) {
    await db.destroy();
    if (error instanceof DatabaseError) throw error;
    throw isCorruption(error) ? corrupt(file, error) : unavailable(file, error);
  }
  return db;
}

function connect(file: string): SqliteDatabase.Database {
  mkdirSync(dirname(file), { recursive: true });
  const connection = new SqliteDatabase(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    connection.pragma('journal_mode = WAL');
    connection.pragma('synchronous = FULL');
    connection.pragma('foreign_keys = ON');
    const findings = connection.pragma('quick_check(1)', { simple: true });
    if (findings !== 'ok') throw new SqliteDatabase.SqliteError(String(findings), 'SQLITE_CORRUPT');
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** A write-ahead log belongs to its database: left in place it would be replayed into the new one. */
function keepAside(file: string, atMs: number): string {
  const aside = `${file}.corrupt-${new Date(atMs).toISOString().replaceAll(':', '-')}`;
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
  }
  return aside;
}

const corrupt = (file: string, cause: unknown) =>
  new DatabaseError('DATABASE_CORRUPT', 'The database is damaged.', {
    where: file,
    remedy:
      'Restore a backup of this file. Without one, start with --rebuild-database: the damaged file is kept aside and an empty one is begun.',
    cause,
  });

const unavailable = (file: string, cause: unknown) =>
  new DatabaseError(
    'DATABASE_UNAVAILABLE',
    `The database cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}.`,
    {
      where: file,
      remedy: 'Check that the data directory exists, belongs to the user of the control plane, and has free space.',
      cause,
    },
  );
