import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RecoveryError } from './errors.js';

/** Not part of a backup: the lock, what SQLite keeps beside its file, uploads that were never finished, and packs, which come and go. */
const LEFT_OUT = /^(lock\.sqlite.*|control-plane\.sqlite.*|blobs\/incoming|packs|.*\.tmp)$/;

/** Every file below `directory` that belongs in a backup, but for the database; relative, in a stable order. */
export async function* filesToKeep(directory: string, below = ''): AsyncGenerator<string> {
  const entries = await readdir(join(directory, below), { withFileTypes: true });
  for (const entry of entries.sort((left, right) => (left.name < right.name ? -1 : 1))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (LEFT_OUT.test(path)) continue;
    if (entry.isDirectory()) yield* filesToKeep(directory, path);
    else if (entry.isFile()) yield path;
  }
}

export interface CopiedFile {
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Copies a file so that it is on the disk when this resolves, and hashes what it read. `mode` is that of the copy: private keys stay private.
 *
 * @throws RecoveryError BACKUP_UNWRITABLE; the signal's reason
 */
export async function copyDurably(from: string, to: string, mode: number, signal: AbortSignal): Promise<CopiedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const handle = await open(to, 'w', mode);
    try {
      for await (const chunk of createReadStream(from, {
        signal,
        highWaterMark: 1024 * 1024,
      }) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        bytes += chunk.length;
        for (let offset = 0; offset < chunk.length;) offset += (await handle.write(chunk, offset)).bytesWritten;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw toUnwritable(to, cause);
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** @throws the signal's reason; what reading throws */
export async function hashFile(file: string, signal: AbortSignal): Promise<CopiedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(file, { signal }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

export const toUnwritable = (where: string, cause: unknown): RecoveryError =>
  cause instanceof RecoveryError
    ? cause
    : new RecoveryError(
        'BACKUP_UNWRITABLE',
        `A file cannot be copied: ${cause instanceof Error ? cause.message : String(cause)}.`,
        {
          where,
          remedy: 'Check space and permissions there; then give the same command again, it goes on where it stopped.',
          cause,
        },
      );
