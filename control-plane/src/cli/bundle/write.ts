import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, open, rename, rm, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CONTENTS_NAME, encodeContents, framing, type BundleContents } from '@drover/shared/bundle';
import type { Digest } from '@drover/shared/ids';
import { errnoOf } from '../../blobs/errors.js';
import { syncDirectory } from '../../durable-file.js';
import { CliError } from '../errors.js';
import type { Part } from './parts.js';

export interface WriteOptions {
  readonly file: string;
  readonly contents: BundleContents;
  /** In the order of the contents. */
  readonly parts: readonly Part[];
  readonly onProgress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Writes a bundle beside its place, checks every byte of it against its table of contents on the way, and puts it there whole and synced. One network
 * chunk is in memory at a time.
 *
 * @returns size and SHA-256 of the file
 * @throws CliError CLI_FILE_EXISTS, CLI_FILE_UNWRITABLE, CLI_ANSWER_UNREADABLE; what the client throws
 */
export async function writeBundle({ file, contents, parts, onProgress, signal }: WriteOptions) {
  refuseExisting(file);
  const temporary = `${file}.tmp`;
  const handle = await open(temporary, 'wx').catch((cause: unknown) => {
    throw errnoOf(cause) === 'EEXIST' ? exists(temporary) : unwritable(file, cause);
  });
  const hash = createHash('sha256');
  let bytes = 0;
  const append = async (chunk: Uint8Array): Promise<void> => {
    await written(handle, chunk, file);
    hash.update(chunk);
    bytes += chunk.length;
    onProgress(bytes);
  };
  const encoded = encodeContents(contents);
  try {
    await append(framing.before(CONTENTS_NAME, encoded.length));
    await append(encoded);
    await append(framing.after(encoded.length));
    for (const part of parts) {
      await append(framing.before(part.name, part.bytes));
      for await (const chunk of verified(part, signal)) await append(chunk);
      await append(framing.after(part.bytes));
    }
    await append(framing.end());
    await handle.sync();
    await handle.close();
    await moveIntoPlace(temporary, file);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
  return { bytes, digest: `sha256:${hash.digest('hex')}` as Digest };
}

async function* verified({ name, bytes, digest, read }: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let received = 0;
  for await (const chunk of read(signal)) {
    signal.throwIfAborted();
    received += chunk.length;
    if (received > bytes) break;
    hash.update(chunk);
    yield chunk;
  }
  if (received === bytes && `sha256:${hash.digest('hex')}` === digest) return;
  throw new CliError('CLI_ANSWER_UNREADABLE', `The control plane gave other bytes for ${name} than were published.`, {
    remedy: 'Check its storage, and proxies on the way; then export again.',
  });
}

/** Never over another file. A stick with FAT knows no links, and nobody else writes there. */
async function moveIntoPlace(temporary: string, file: string): Promise<void> {
  try {
    await link(temporary, file);
    await unlink(temporary);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw exists(file);
    refuseExisting(file);
    await rename(temporary, file).catch((cause: unknown) => {
      throw unwritable(file, cause);
    });
  }
  await syncDirectory(dirname(file));
}

function refuseExisting(file: string): void {
  if (existsSync(file)) throw exists(file);
}

async function written(handle: FileHandle, chunk: Uint8Array, file: string): Promise<void> {
  try {
    await handle.appendFile(chunk);
  } catch (cause) {
    throw unwritable(file, cause);
  }
}

const exists = (file: string) =>
  new CliError('CLI_FILE_EXISTS', 'This file exists already; nothing is overwritten.', {
    where: file,
    remedy: 'Name another file, or remove this one.',
  });

const unwritable = (file: string, cause: unknown) =>
  new CliError('CLI_FILE_UNWRITABLE', `The bundle cannot be written: ${(cause as Error).message}.`, {
    where: file,
    remedy:
      'Check the folder, its space and its permissions; a stick with FAT32 takes files of up to 4 GiB (use exFAT or ext4).',
    cause,
  });
