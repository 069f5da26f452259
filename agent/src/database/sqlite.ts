import { existsSync, renameSync } from 'node:fs';
import Database from 'better-sqlite3';
import { DatabaseError, isCorruption, toDatabaseError } from './errors.js';

export type SqliteDatabase = Database.Database;

export interface SqliteOptions {
  /** Absolute path; its folder exists. */
  readonly file: string;
  readonly pragmas: {
    /** FULL: a commit survives a power cut. NORMAL: the last commits may be lost, the file stays whole. */
    readonly synchronous: 'FULL' | 'NORMAL';
    /** Size in KiB of the page cache; SQLite's default is 2,000. */
    readonly cacheKiB?: number;
  };
  /**
   * SQL scripts, oldest first. Number n takes `user_version` from n − 1 to n; a script is never changed once it was released, and only adds:
   * tables, indices, and columns that may be absent. For an agent that is taken back finds what the newer one has made of its databases, and has
   * to run on it (docs/adr/0010-agent-releases.md).
   */
  readonly migrations: readonly string[];
  /** Wall clock for the name of a file that is kept aside. */
  readonly nowMs: () => number;
  /** Told after a damaged file was kept aside and a new, empty one was opened. */
  readonly onRebuilt: (error: DatabaseError) => void;
}

/**
 * Opens a database in WAL mode and brings its schema up to date. A damaged file is kept aside as `*.corrupt-<ms>` (with its -wal and -shm)
 * and a new one is built, so that a broken SD card sector never keeps a device from starting.
 *
 * A schema that is newer has only more than this agent looks at. One of another generation is refused: see `GENERATION`.
 *
 * @throws DatabaseError DATABASE_SCHEMA_NEWER, DATABASE_DISK_FULL, DATABASE_UNAVAILABLE
 */
export function openSqlite(options: SqliteOptions): SqliteDatabase {
  try {
    return openChecked(options);
  } catch (error) {
    if (!isCorruption(error)) throw toDatabaseError(error, options.file);
    const aside = keepAside(options.file, options.nowMs());
    const rebuilt = openChecked(options);
    options.onRebuilt(
      new DatabaseError('DATABASE_REBUILT', 'A database file was damaged; a new one was built in its place.', {
        where: aside,
        remedy: 'Check the disk (smartctl, dmesg). The damaged file is kept; delete it when nobody needs what it held.',
        cause: error,
      }),
    );
    return rebuilt;
  }
}

function openChecked({ file, pragmas, migrations }: SqliteOptions): SqliteDatabase {
  const database = new Database(file, { timeout: 5000 });
  try {
    database.pragma('journal_mode = WAL');
    database.pragma(`synchronous = ${pragmas.synchronous}`);
    database.pragma('foreign_keys = ON');
    if (pragmas.cacheKiB !== undefined) database.pragma(`cache_size = -${pragmas.cacheKiB}`);
    const verdict = database.pragma('quick_check(1)', { simple: true });
    if (verdict !== 'ok') throw new Database.SqliteError(String(verdict), 'SQLITE_CORRUPT');
    migrate(database, file, migrations);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Numbers from here on are for a schema that older agents cannot use. Such a one needs two releases: the first reads both, the second writes it.
 */
const GENERATION = 1000;

function migrate(database: SqliteDatabase, file: string, migrations: readonly string[]): void {
  const found = Number(database.pragma('user_version', { simple: true }));
  if (Math.trunc(found / GENERATION) > 0) {
    throw new DatabaseError(
      'DATABASE_SCHEMA_NEWER',
      `The database has schema ${found}; this agent knows up to ${GENERATION - 1}.`,
      {
        where: file,
        remedy: 'A newer agent has written this file. Install that version again, or move the file away.',
      },
    );
  }
  migrations.slice(found).forEach((script, index) => {
    database.transaction(() => {
      database.exec(script);
      database.pragma(`user_version = ${found + index + 1}`);
    })();
  });
}

function keepAside(file: string, nowMs: number): string {
  const aside = `${file}.corrupt-${nowMs}`;
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
  }
  return aside;
}
