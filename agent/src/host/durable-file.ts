import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toWriteError } from './errors.js';

const temporaryName = (file: string): string => `${file}.${randomBytes(6).toString('hex')}.tmp`;

/**
 * Replaces `file` so that after a power cut it holds either the old bytes or the new ones, never a mixture: tmp, fsync, rename, fsync of
 * the folder.
 *
 * @throws HostError HOST_DISK_FULL, HOST_FILE_UNWRITABLE
 */
export async function writeDurably(file: string, bytes: Uint8Array | string, mode = 0o644): Promise<void> {
  const temporary = temporaryName(file);
  try {
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncDirectory(dirname(file));
  } catch (error) {
    await rm(temporary, { force: true });
    throw toWriteError(error, file);
  }
}

/** The same for callers that must not yield between two writes, such as a journal beside its SQLite transaction. For small files only. */
export function writeDurablySync(file: string, text: string, mode = 0o644): void {
  const temporary = temporaryName(file);
  try {
    const descriptor = openSync(temporary, 'wx', mode);
    try {
      const bytes = Buffer.from(text);
      for (let offset = 0; offset < bytes.length;) offset += writeSync(descriptor, bytes, offset);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, file);
    const directory = openSync(dirname(file), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch (error) {
    rmSync(temporary, { force: true });
    throw toWriteError(error, file);
  }
}

/** Makes renames, links and removals in `directory` survive a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder and those above it that are missing, so that they survive a power cut: what is durable within a folder that is not is lost with it. */
export async function makeDirectoryDurably(directory: string): Promise<void> {
  const topmost = await mkdir(directory, { recursive: true });
  if (topmost === undefined) return;
  for (let made = directory; made.length >= topmost.length; made = dirname(made)) await syncDirectory(dirname(made));
}

/** What `writeDurably` and its like leave behind when the process is killed in between: files and folders whose names end in `.tmp`. */
export async function removeTemporaries(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name.endsWith('.tmp')) await rm(join(directory, name), { recursive: true, force: true });
  }
}
