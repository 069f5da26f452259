import { join } from 'node:path';
import Database from 'better-sqlite3';
import { StartError } from './start-errors.js';

/**
 * Keeps a second control plane off this data directory: two directors would sign orders with the same numbers. The lock is SQLite's on a file of
 * its own, so the operating system releases it however this process ends.
 *
 * @returns the way to release it
 * @throws StartError DATA_DIR_IN_USE
 */
export function lockDataDirectory(dataDir: string): () => Promise<void> {
  const file = join(dataDir, 'lock.sqlite');
  const lock = new Database(file, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    if ((cause as { code?: unknown }).code !== 'SQLITE_BUSY') throw cause;
    throw new StartError('DATA_DIR_IN_USE', 'Another control plane works on this data directory.', {
      where: dataDir,
      remedy: 'Stop that process, or give this one a directory of its own (DROVER_DATA_DIR).',
      cause,
    });
  }
  return () => {
    lock.close();
    return Promise.resolve();
  };
}
