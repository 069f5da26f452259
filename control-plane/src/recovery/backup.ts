import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { syncDirectory } from '../durable-file.js';
import {
  BACKUP_DOCUMENT,
  BACKUP_FORMAT,
  DATABASE_FILE,
  UNFINISHED_MARK,
  type BackupDocument,
} from './backup-document.js';
import { RecoveryError } from './errors.js';
import { copyDurably, filesToKeep, hashFile, toUnwritable, type CopiedFile } from './files.js';

export interface BackupOptions {
  readonly dataDir: string;
  /** A folder of its own; made if it is missing. */
  readonly out: string;
  /** Of this program; a restore by an older one is refused by the database's schema. */
  readonly version: string;
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly onFile?: (path: string, bytes: number) => void;
}

/**
 * Copies a control plane's whole state while it runs: the database first, in one read transaction, then everything that it may refer to.
 * Files of releases are stored before the database names them and never change, so a copy taken later holds all that the database knows.
 * The description is written last. An interrupted backup is finished by the same call; files of releases that are there already, whole, stay.
 *
 * @throws RecoveryError; the signal's reason
 */
export async function takeBackup(options: BackupOptions): Promise<BackupDocument> {
  const { dataDir, out, version, now, signal, onFile = () => undefined } = options;
  const source = join(dataDir, DATABASE_FILE);
  if (!existsSync(source)) {
    throw new RecoveryError('BACKUP_SOURCE_MISSING', 'There is no control plane in this folder.', {
      where: source,
      remedy: 'Name the data directory of the control plane with --data-dir (its "dataDir", or DROVER_DATA_DIR).',
    });
  }
  await claim(out);
  const takenAt = now();
  const files: BackupDocument['files'] = [];
  const keep = (path: string, copied: CopiedFile) => {
    files.push({ path, ...copied });
    onFile(path, copied.bytes);
  };
  keep(DATABASE_FILE, await copyDatabase(source, join(out, DATABASE_FILE), signal));
  for await (const path of filesToKeep(dataDir)) {
    const target = join(out, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    const copied = (await sameBlob(path, target, signal)) ?? (await copyFile(join(dataDir, path), target, signal));
    requireIntact(path, copied);
    keep(path, copied);
  }
  for (const folder of new Set(files.map(({ path }) => dirname(join(out, path))))) await syncDirectory(folder);
  const document: BackupDocument = { format: BACKUP_FORMAT, takenAt, version, files };
  const temporary = join(out, `${BACKUP_DOCUMENT}.tmp`);
  await writeFile(temporary, `${JSON.stringify(document)}\n`, { mode: 0o600, flush: true });
  await rename(temporary, join(out, BACKUP_DOCUMENT));
  await rm(join(out, UNFINISHED_MARK));
  await syncDirectory(out);
  return document;
}

/** Neither a finished backup nor anything else is ever written over. */
async function claim(out: string): Promise<void> {
  try {
    await mkdir(out, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw toUnwritable(out, cause);
  }
  const names = await readdir(out);
  if (names.length === 0) await writeFile(join(out, UNFINISHED_MARK), '', { flag: 'wx', flush: true });
  if (names.length === 0 || (names.includes(UNFINISHED_MARK) && !names.includes(BACKUP_DOCUMENT))) return;
  throw new RecoveryError('BACKUP_TARGET_OCCUPIED', 'This folder is not empty.', {
    where: out,
    remedy: 'Give every backup a folder of its own, for example one named by the date.',
  });
}

/** One read transaction, which writers in other processes neither disturb nor wait for (SQLite, "VACUUM INTO"). */
async function copyDatabase(source: string, target: string, signal: AbortSignal): Promise<CopiedFile> {
  await rm(target, { force: true });
  try {
    const database = new SqliteDatabase(source, { readonly: true, timeout: 30_000 });
    try {
      database.prepare('VACUUM INTO ?').run(target);
    } finally {
      database.close();
    }
    // VACUUM INTO syncs nothing that must outlive this moment: the copy below is what is synced.
    const synced = `${target}.tmp`;
    const copied = await copyDurably(target, synced, 0o600, signal);
    await rename(synced, target);
    return copied;
  } catch (cause) {
    signal.throwIfAborted();
    throw toUnwritable(target, cause);
  }
}

async function copyFile(from: string, to: string, signal: AbortSignal): Promise<CopiedFile> {
  const { mode } = await stat(from);
  return copyDurably(from, to, mode & 0o700, signal);
}

const BLOB_PATH = /^blobs\/[0-9a-f]{2}\/([0-9a-f]{64})$/;

/** A file of a release that an interrupted backup has copied already. */
async function sameBlob(path: string, target: string, signal: AbortSignal): Promise<CopiedFile | undefined> {
  if (!BLOB_PATH.test(path) || !existsSync(target)) return undefined;
  const there = await hashFile(target, signal);
  return there.sha256 === basename(path) ? there : undefined;
}

/** A file of a release is named by its digest, so a damaged disk is noticed here and not at the restore. */
function requireIntact(path: string, { sha256 }: CopiedFile): void {
  const named = BLOB_PATH.exec(path)?.[1];
  if (named === undefined || named === sha256) return;
  throw new RecoveryError('BACKUP_FILE_DAMAGED', `The stored file ${named.slice(0, 12)}… no longer has its digest.`, {
    where: path,
    remedy:
      'The disk of the control plane is damaged. Publish the release of this file again, then take the backup anew.',
  });
}
