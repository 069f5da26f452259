import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { digestHex, type Digest } from '@drover/shared/ids';
import { syncDirectory } from '../durable-file.js';
import { blobPath } from './path.js';
import { BlobError, errnoOf, toStoreError } from './errors.js';

export interface BlobStoreOptions {
  readonly directory: string;
  /** Largest upload that is taken. */
  readonly maxBytes: number;
}

export interface ByteRange {
  readonly start: number;
  /** Inclusive, as in HTTP. */
  readonly end: number;
}

/** The files of releases, named by their SHA-256. A name that exists is whole and on the disk. */
export interface BlobStore {
  bytesOf(digest: Digest): Promise<number | undefined>;
  /** Stores a stream if its bytes have the digest. Storing again is harmless. */
  put(digest: Digest, content: Readable): Promise<{ bytes: number; created: boolean }>;
  /** The bytes, or a part of them. The caller has asked `bytesOf` before. */
  read(digest: Digest, range?: ByteRange): Readable;
  /** For reading here and there; undefined when there is no such file. The caller closes it. */
  open(digest: Digest): Promise<FileHandle | undefined>;
}

/** A directory on this machine: `ab/abcd…`, and `incoming/` for uploads under way. */
export async function openBlobDirectory({ directory, maxBytes }: BlobStoreOptions): Promise<BlobStore> {
  const incoming = join(directory, 'incoming');
  try {
    // What a crash left half-written has no name that anybody asks for.
    await rm(incoming, { recursive: true, force: true });
    await mkdir(incoming, { recursive: true });
  } catch (cause) {
    throw toStoreError(directory, cause);
  }
  const pathOf = (digest: Digest) => blobPath(directory, digest);

  async function bytesOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(pathOf(digest))).size;
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return undefined;
      throw toStoreError(directory, cause);
    }
  }

  async function put(digest: Digest, content: Readable): Promise<{ bytes: number; created: boolean }> {
    // The iterator below throws an error that comes before the first read; without a listener it would end the process instead.
    content.on('error', () => undefined);
    const existing = await bytesOf(digest);
    if (existing !== undefined) {
      content.resume();
      return { bytes: existing, created: false };
    }
    const temporary = join(incoming, randomUUID());
    try {
      const bytes = await receive(temporary, content, digest, maxBytes);
      const path = pathOf(digest);
      const parent = await mkdir(dirname(path), { recursive: true });
      await rename(temporary, path);
      await syncDirectory(dirname(path));
      if (parent !== undefined) await syncDirectory(directory);
      return { bytes, created: true };
    } catch (cause) {
      await rm(temporary, { force: true });
      throw cause instanceof BlobError ? cause : toStoreError(directory, cause);
    }
  }

  const read = (digest: Digest, range?: ByteRange) => createReadStream(pathOf(digest), range);
  async function openForReading(digest: Digest): Promise<FileHandle | undefined> {
    try {
      return await open(pathOf(digest), 'r');
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return undefined;
      throw toStoreError(directory, cause);
    }
  }
  return { bytesOf, put, read, open: openForReading };
}

/** Hashes while it writes; the limit holds while streaming, not after it. */
async function receive(file: string, content: Readable, digest: Digest, maxBytes: number): Promise<number> {
  const hash = createHash('sha256');
  let bytes = 0;
  const handle = await open(file, 'wx');
  try {
    for await (const chunk of uploaded(content)) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new BlobError('BLOB_TOO_LARGE', `The file exceeds the limit of ${maxBytes} bytes.`, {
          remedy: 'Publish a smaller file, or raise "maxBlobBytes" in the configuration of the control plane.',
        });
      }
      hash.update(chunk);
      await writeAll(handle, chunk);
    }
    const actual = hash.digest('hex');
    if (actual !== digestHex(digest)) {
      throw new BlobError('BLOB_DIGEST_MISMATCH', `The bytes that arrived have the digest sha256:${actual}.`, {
        where: digest,
        remedy: 'The file changed or was damaged on its way: upload it again under the digest of its bytes.',
      });
    }
    await handle.sync();
    return bytes;
  } finally {
    await handle.close();
  }
}

async function* uploaded(content: Readable): AsyncGenerator<Uint8Array> {
  const chunks = content[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  for (;;) {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await chunks.next();
    } catch (cause) {
      throw new BlobError('BLOB_UPLOAD_BROKEN', 'The upload ended before the file was whole.', {
        remedy: 'Upload it again.',
        cause,
      });
    }
    if (next.done === true) return;
    yield next.value;
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.length;) offset += (await handle.write(chunk, offset)).bytesWritten;
}
