import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import {
  decodeChunkIndex,
  DeliveryError,
  descriptorSource,
  encodePackDirectory,
  isChunkIndex,
  makePack,
  type ChunkIndex,
  type IndexedSource,
} from '@drover/shared/delivery';
import { digestHex, type Digest } from '@drover/shared/ids';
import { MAX_INDEX_BYTES } from '@drover/shared/manifest';
import type { FileHandle } from 'node:fs/promises';
import type { BlobStore } from '../blobs/index.js';
import { PackError } from './errors.js';
import { PackCache } from './pack-cache.js';

export interface PackOptions {
  readonly blobs: BlobStore;
  readonly folder: string;
  /** Of all packs together. */
  readonly maxCacheBytes: number;
  /** Packs that are computed at once; each takes a core. */
  readonly maxComputing: number;
  /** How long a request may wait for its pack before the device is told to come again. */
  readonly maxWaitMs?: number;
  readonly onError: (error: unknown) => void;
}

export interface Packs {
  /**
   * The encoded directory of the pack for a file, by the digests of its index and of the index of a base. Makes the pack if it is not there.
   *
   * @throws PackError PACK_UNKNOWN, PACK_BUSY
   */
  directory(target: Digest, base?: Digest): Promise<Buffer>;
  open(pack: Digest): Promise<FileHandle | undefined>;
  close(): Promise<void>;
}

const MAX_WAIT_MS = 20_000;
/** Above this many, who asks comes again later: a queue must not become a list of what nobody waits for any more. */
const MAX_QUEUE = 100;

export async function openPacks(options: PackOptions): Promise<Packs> {
  const { blobs, maxCacheBytes, maxComputing, onError, maxWaitMs = MAX_WAIT_MS } = options;
  const cache = await PackCache.open(options.folder, maxCacheBytes);
  const closing = new AbortController();
  const making = new Map<string, Promise<Buffer>>();
  const turns: (() => void)[] = [];
  let computing = 0;

  async function turn(): Promise<void> {
    if (computing >= maxComputing) await new Promise<void>((resolve) => turns.push(resolve));
    else computing += 1;
  }
  function pass(): void {
    // Handed on rather than given back: whoever asks in between would go over the limit.
    const next = turns.shift();
    if (next) next();
    else computing -= 1;
  }

  async function make(key: string, target: Digest, base: Digest | undefined): Promise<Buffer> {
    await turn();
    const opened: FileHandle[] = [];
    let temporary: Awaited<ReturnType<PackCache['begin']>> | undefined;
    try {
      const { file, handle } = (temporary = await cache.begin());
      let bytes = 0;
      const made = await makePack({
        target: await openIndexed(blobs, target, opened),
        base: base && (await openIndexed(blobs, base, opened)),
        write: async (frame) => {
          if (bytes + frame.length > maxCacheBytes) throw tooLarge(maxCacheBytes);
          await handle.write(frame, 0, frame.length, bytes);
          bytes += frame.length;
        },
        signal: closing.signal,
      });
      const directory = encodePackDirectory(made);
      await handle.sync();
      await cache.add(key, { file, pack: made.pack, bytes, directory });
      return directory;
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      onError(error);
      throw unknown(error.message, error);
    } finally {
      pass();
      for (const handle of opened) await handle.close();
      await temporary?.handle.close();
      if (temporary) await rm(temporary.file, { force: true });
    }
  }

  /** One computation per pack, however many ask for it. */
  function once(target: Digest, base: Digest | undefined): Promise<Buffer> {
    const key = keyOf(target, base);
    const running = making.get(key);
    if (running) return running;
    if (making.size >= MAX_QUEUE) return Promise.reject(busy());
    const made = make(key, target, base).finally(() => making.delete(key));
    making.set(key, made);
    // Who waited may be gone; the error is for whoever asks next.
    made.catch(() => undefined);
    return made;
  }

  return {
    async directory(target, base) {
      const ready = await cache.directory(keyOf(target, base));
      if (ready) return ready;
      const waiting = new AbortController();
      const patience = delay(maxWaitMs, undefined, { signal: waiting.signal }).then(() => {
        throw busy();
      });
      patience.catch(() => undefined);
      try {
        return await Promise.race([once(target, base), patience]);
      } finally {
        waiting.abort();
      }
    },
    open: (pack) => cache.openPack(pack),
    async close() {
      closing.abort(new Error('The control plane stops.'));
      await Promise.allSettled(making.values());
    },
  };
}

const keyOf = (target: Digest, base: Digest | undefined): string =>
  `${digestHex(target)}-${base === undefined ? 'whole' : digestHex(base)}`;

const busy = () =>
  new PackError('PACK_BUSY', 'The compressed chunks are still being made.', {
    remedy: 'Ask again in a few seconds; or fetch the plain file.',
  });

async function openIndexed(blobs: BlobStore, digest: Digest, opened: FileHandle[]): Promise<IndexedSource> {
  const index = await readIndex(blobs, digest);
  const handle = await blobs.open(index.file);
  if (!handle || (await handle.stat()).size !== index.bytes) {
    await handle?.close();
    throw unknown(`The file of the chunk index ${digest} is not stored.`);
  }
  opened.push(handle);
  return { index, indexDigest: digest, source: descriptorSource(handle.fd, index.bytes) };
}

async function readIndex(blobs: BlobStore, digest: Digest): Promise<ChunkIndex> {
  const handle = await blobs.open(digest);
  if (!handle) throw unknown(`No chunk index ${digest} is stored.`);
  try {
    const { buffer } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    if (!isChunkIndex(buffer) || (await handle.stat()).size > MAX_INDEX_BYTES)
      throw unknown(`${digest} is no chunk index.`);
    return decodeChunkIndex(await readAll(handle));
  } catch (error) {
    if (error instanceof DeliveryError) throw unknown(`${digest} is no chunk index: ${error.message}`, error);
    throw error;
  } finally {
    await handle.close();
  }
}

async function readAll(handle: FileHandle): Promise<Buffer> {
  const content = Buffer.alloc((await handle.stat()).size);
  for (let filled = 0; filled < content.length;) {
    const { bytesRead } = await handle.read(content, filled, content.length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return content;
}

const unknown = (what: string, cause?: unknown) =>
  new PackError('PACK_UNKNOWN', what, { remedy: 'Fetch the plain file.', cause });

const tooLarge = (maxBytes: number) =>
  new PackError(
    'PACK_UNKNOWN',
    `The compressed chunks would exceed the ${maxBytes} bytes that are set aside for packs.`,
    {
      remedy:
        'Devices fetch the plain file. To have them compressed, raise "packs.maxCacheBytes" of the control plane.',
    },
  );
