import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { damaged, MAX_DOCUMENT_BYTES, readLayout, type BundleLayout, type PlacedEntry } from '@drover/shared/bundle';
import { ImportError } from './errors.js';

/** One bundle as it lies on a disk or a stick. It is read where it is, and never unpacked. */
export interface BundleFile extends BundleLayout {
  readonly bytes: number;
  readonly modifiedAtMs: number;
  /** A document in it: metadata, an order, a statement. @throws BundleError BUNDLE_DAMAGED */
  document(name: string): Promise<Uint8Array | undefined>;
  /** A part of what lies under a name, which has to be there; up to its end where none is given. */
  stream(entry: PlacedEntry, start: number, end?: number): AsyncIterable<Uint8Array>;
  /** Reads all of it. @throws BundleError BUNDLE_DAMAGED */
  verify(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * Opens a regular file, whatever links lead to it, and finds its entries.
 *
 * @throws BundleError BUNDLE_MALFORMED, BUNDLE_TRUNCATED; ImportError IMPORT_FILE_UNREADABLE
 */
export async function openBundle(path: string): Promise<BundleFile> {
  // Without O_NONBLOCK a named pipe would hang here for ever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw bundleUnreadable(path, cause);
  });
  try {
    return await read(handle, path);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function read(handle: FileHandle, path: string): Promise<BundleFile> {
  const facts = await handle.stat();
  if (!facts.isFile()) throw bundleUnreadable(path, new Error('it is no regular file'));
  const at = async (offset: number, length: number): Promise<Buffer> => {
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    } catch (cause) {
      throw bundleUnreadable(path, cause);
    }
  };
  const layout = await readLayout({ bytes: facts.size, read: at });
  async function* stream({ name, offset, bytes }: PlacedEntry, start: number, end = bytes): AsyncGenerator<Uint8Array> {
    for (let position = start; position < end;) {
      const chunk = await at(offset + position, Math.min(CHUNK_BYTES, end - position));
      if (chunk.length === 0) throw damaged(name);
      position += chunk.length;
      yield chunk;
    }
  }
  return {
    ...layout,
    bytes: facts.size,
    modifiedAtMs: facts.mtimeMs,
    stream,
    async document(name) {
      const entry = layout.entries.get(name);
      if (!entry || entry.bytes > MAX_DOCUMENT_BYTES) return undefined;
      const parts: Uint8Array[] = [];
      for await (const part of stream(entry, 0)) parts.push(part);
      return Buffer.concat(parts);
    },
    async verify(signal) {
      for (const entry of layout.entries.values()) {
        const hash = createHash('sha256');
        for await (const chunk of stream(entry, 0)) {
          signal.throwIfAborted();
          hash.update(chunk);
        }
        if (`sha256:${hash.digest('hex')}` !== entry.digest) throw damaged(entry.name);
      }
    },
    close: () => handle.close(),
  };
}

export const bundleUnreadable = (where: string, cause: unknown) =>
  new ImportError('IMPORT_FILE_UNREADABLE', `The bundle cannot be read: ${(cause as Error).message}.`, {
    where,
    remedy: 'Check the name, the permissions and the stick (dmesg); copy the bundle again.',
    cause,
  });
