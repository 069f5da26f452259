import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openDatabase } from '../database/index.js';
import { syncDirectory } from '../durable-file.js';
import { BACKUP_DOCUMENT, DATABASE_FILE, parseBackupDocument, type BackupDocument } from './backup-document.js';
import { RecoveryError } from './errors.js';
import { copyDurably, toUnwritable } from './files.js';
import { beginRecovery } from './history.js';

export interface RestoreOptions {
  readonly backup: string;
  /** Must be empty or missing: a restore never writes over a control plane. */
  readonly dataDir: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly onFile?: (path: string, bytes: number) => void;
}

/**
 * Puts a backup in place as a data directory, whole or not at all, and marks its database as one of the past: the control plane that starts on
 * it gives no order until it knows what happened since (docs/protocol.md, section 11).
 *
 * @throws RecoveryError, DatabaseError; the signal's reason
 */
export async function restoreBackup(options: RestoreOptions): Promise<BackupDocument> {
  const { backup, dataDir, now, signal, onFile = () => undefined } = options;
  const document = await readDocument(join(backup, BACKUP_DOCUMENT));
  await requireVacant(dataDir);
  const building = `${dataDir}.restoring`;
  try {
    await rm(building, { recursive: true, force: true });
    await mkdir(building, { recursive: true, mode: 0o700 });
    for (const file of document.files) {
      await restoreFile(backup, building, file, signal);
      onFile(file.path, file.bytes);
    }
    for (const folder of new Set(document.files.map(({ path }) => dirname(join(building, path)))))
      await syncDirectory(folder);
    const db = await openDatabase({ file: join(building, DATABASE_FILE), now });
    try {
      const reason = `A backup of ${new Date(document.takenAt).toISOString()} was restored`;
      await beginRecovery(db, { reason, begunAt: now(), lostFrom: document.takenAt });
    } finally {
      await db.destroy();
    }
    if (existsSync(dataDir)) await rmdir(dataDir);
    await rename(building, dataDir);
    await syncDirectory(dirname(dataDir));
    return document;
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    throw error;
  }
}

async function readDocument(file: string): Promise<BackupDocument> {
  try {
    return parseBackupDocument(await readFile(file), file);
  } catch (cause) {
    if (cause instanceof RecoveryError) throw cause;
    throw new RecoveryError('BACKUP_INVALID', 'There is no finished backup in this folder.', {
      where: file,
      remedy: 'Name a folder that `drover backup` wrote to its end.',
      cause,
    });
  }
}

async function requireVacant(dataDir: string): Promise<void> {
  if (!existsSync(dataDir) || (await readdir(dataDir)).length === 0) return;
  throw new RecoveryError('BACKUP_TARGET_OCCUPIED', 'This data directory is not empty.', {
    where: dataDir,
    remedy: 'Restore into a new folder, or move the old one aside first: what is there is never written over.',
  });
}

async function restoreFile(
  backup: string,
  target: string,
  { path, bytes, sha256 }: BackupDocument['files'][number],
  signal: AbortSignal,
): Promise<void> {
  const from = join(backup, path);
  const to = join(target, path);
  if (!existsSync(from)) throw damaged(from, 'is missing');
  await mkdir(dirname(to), { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw toUnwritable(to, cause);
  });
  const copied = await copyDurably(from, to, 0o600, signal);
  if (copied.bytes !== bytes || copied.sha256 !== sha256) throw damaged(from, 'is not what was backed up');
}

const damaged = (where: string, why: string) =>
  new RecoveryError('BACKUP_FILE_DAMAGED', `A file of the backup ${why}.`, {
    where,
    remedy: 'Use another backup; nothing was changed.',
  });
