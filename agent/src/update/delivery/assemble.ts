import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { decodeFrame, DeliveryError, elementsOf, type Chunk, type ChunkIndex } from '@drover/shared/delivery';
import type { Digest } from '@drover/shared/ids';
import { systemCode, toWriteError } from '../../host/index.js';
import { UpdateError } from '../errors.js';
import type { FrameStream } from './frame-stream.js';
import { plainPiece, requestEnds, type FetchPiece, type Piece } from './plan.js';

export interface AssemblyOptions {
  readonly index: ChunkIndex;
  /** The partial file. */
  readonly file: string;
  readonly frames: FrameStream;
  /** Path of a whole file on this disk. */
  readonly localFile: (digest: Digest) => string;
  /** Called before each persisted write. */
  readonly passWrite: (name: 'chunk' | 'sync') => void;
  readonly onChunk: (chunk: Chunk) => void;
  /** Something that was to save bytes did not; the plain chunk is fetched in its place. */
  readonly onFallback: (why: string) => void;
  readonly signal: AbortSignal;
}

export const WRONG_FRAME = 'a compressed chunk was wrong';

/** So that a power cut costs no more than this, and the last fsync is short. */
const SYNC_EVERY_BYTES = 8 * 1024 ** 2;

/**
 * Writes the pieces to the partial file, in the order of the file. Nothing is written that does not have the hash that the index states (docs/protocol.md,
 * section 10, step 6), so the partial file is always the beginning of the file. Holds four chunks and two frames in memory.
 *
 * @throws UpdateError FETCH_*; HostError HOST_DISK_FULL
 */
export async function assemble(pieces: readonly Piece[], options: AssemblyOptions): Promise<void> {
  const { file, passWrite, onChunk, signal } = options;
  const ends = requestEnds(pieces);
  const local = new LocalReader(options.localFile);
  const target = await openForUpdate(file);
  let unsynced = 0;
  let ahead = local.begin(pieces[0]);
  let writing: Promise<void> = Promise.resolve();
  let syncing: Promise<void> = Promise.resolve();
  try {
    for (const [position, piece] of pieces.entries()) {
      signal.throwIfAborted();
      const read = ahead;
      ahead = local.begin(pieces[position + 1]);
      const content = await contentOf({ piece, read, requestEnd: ends.get(piece) ?? 0 }, local, options);
      // One chunk is written while the next one is checked and the one after it is read; the disk works on earlier ones meanwhile.
      await writing;
      passWrite('chunk');
      writing = writeAt(target, content, piece.chunk.offset, file).then(() => onChunk(piece.chunk));
      writing.catch(() => undefined);
      unsynced += content.length;
      if (unsynced < SYNC_EVERY_BYTES) continue;
      unsynced = 0;
      await syncing;
      passWrite('sync');
      syncing = synced(target, file);
      syncing.catch(() => undefined);
    }
    await Promise.all([writing, syncing]);
  } finally {
    await Promise.allSettled([writing, syncing, ahead, options.frames.close()]);
    await local.close();
    await target.close();
  }
}

/** The chunks at the beginning of the partial file that have their hash. Cuts off what follows: it is from a power cut, or from an attempt that had another index. */
export async function countWholeChunks(index: ChunkIndex, file: string, signal: AbortSignal): Promise<number> {
  const handle = await openForUpdate(file);
  try {
    const { size } = await handle.stat();
    let done = 0;
    let end = 0;
    for (const chunk of index.chunks) {
      if (chunk.offset + chunk.bytes > size) break;
      signal.throwIfAborted();
      const content = await readAt(handle, chunk.offset, Buffer.allocUnsafe(chunk.bytes));
      if (!content || !hasHash(content, chunk)) break;
      done += 1;
      end = chunk.offset + chunk.bytes;
    }
    if (size !== end) await handle.truncate(end);
    return done;
  } finally {
    await handle.close();
  }
}

/** A copy or a frame that turns out wrong is made good by the plain chunk; a plain chunk that is wrong is the end. */
async function contentOf(
  { piece, read, requestEnd }: { piece: Piece; read: LocalRead | undefined; requestEnd: number },
  local: LocalReader,
  options: AssemblyOptions,
): Promise<Uint8Array> {
  const { index, frames, onFallback, signal } = options;
  if (piece.kind === 'copy') {
    const content = await read;
    if (content && hasHash(content, piece.chunk)) return content;
    onFallback('a file on this disk is damaged');
  } else {
    const content = await decoded(piece, requestEnd, local, frames);
    signal.throwIfAborted();
    if (content && hasHash(content, piece.chunk)) return content;
    if (piece.source.kind === 'pack') onFallback(WRONG_FRAME);
  }
  await frames.close();
  const plain = plainPiece(index, piece.chunk);
  const content = await frames.next(plain, plain.entry.offset + plain.entry.bytes);
  await frames.close();
  if (hasHash(content, piece.chunk)) return content;
  throw new UpdateError('FETCH_DIGEST_MISMATCH', 'A chunk of the file is not what the publisher signed.', {
    remedy:
      'The file was changed on the server or on its way. Publish the release again from the source, and look for who changed it.',
  });
}

async function decoded(
  piece: FetchPiece,
  requestEnd: number,
  local: LocalReader,
  frames: FrameStream,
): Promise<Uint8Array | undefined> {
  const { chunk, entry, base: baseFile } = piece;
  const bytes = await frames.next(piece, requestEnd);
  const { start, end } = elementsOf(chunk);
  const base =
    entry.baseOffset !== undefined && baseFile !== undefined
      ? await local.read(baseFile, entry.baseOffset, end - start)
      : undefined;
  try {
    return await decodeFrame({ transform: entry.transform, bytes }, chunk, base);
  } catch (error) {
    if (error instanceof DeliveryError) return undefined;
    throw error;
  }
}

const hasHash = (content: Uint8Array, { hex }: Chunk): boolean =>
  createHash('sha256').update(content).digest('hex') === hex;

type LocalRead = Promise<Uint8Array | undefined>;

/**
 * Reads parts of whole files; keeps them open. Buffers take turns: what one holds may still be on its way to the disk while the next one is checked, another
 * is a base, and another is read ahead.
 */
class LocalReader {
  readonly #pathOf: (digest: Digest) => string;
  readonly #open = new Map<Digest, Promise<FileHandle | undefined>>();
  readonly #buffers = Array.from({ length: 4 }, () => Buffer.alloc(0));
  #turn = 0;

  constructor(pathOf: (digest: Digest) => string) {
    this.#pathOf = pathOf;
  }

  /** Begins to read what a piece copies, if it does. The piece itself waits for it. */
  begin(piece: Piece | undefined): LocalRead | undefined {
    if (piece?.kind !== 'copy') return undefined;
    const read = this.read(piece.from, piece.offset, piece.chunk.bytes);
    read.catch(() => undefined);
    return read;
  }

  /** A view that holds until four more were begun; undefined when the file does not have these bytes. */
  async read(digest: Digest, offset: number, bytes: number): Promise<Uint8Array | undefined> {
    const turn = this.#turn++ % this.#buffers.length;
    const opened = this.#open.get(digest) ?? openIfThere(this.#pathOf(digest));
    this.#open.set(digest, opened);
    const handle = await opened;
    if (!handle) return undefined;
    let buffer = this.#buffers[turn];
    if (!buffer || buffer.length < bytes) this.#buffers[turn] = buffer = Buffer.allocUnsafeSlow(bytes);
    return readAt(handle, offset, buffer.subarray(0, bytes));
  }

  async close(): Promise<void> {
    for (const opened of this.#open.values()) await opened.then((handle) => handle?.close()).catch(() => undefined);
    this.#open.clear();
  }
}

async function readAt(handle: FileHandle, offset: number, target: Buffer): Promise<Buffer | undefined> {
  for (let filled = 0; filled < target.length;) {
    const { bytesRead } = await handle.read(target, filled, target.length - filled, offset + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return target;
}

async function writeAt(handle: FileHandle, content: Uint8Array, offset: number, file: string): Promise<void> {
  try {
    for (let written = 0; written < content.length;) {
      const { bytesWritten } = await handle.write(content, written, content.length - written, offset + written);
      written += bytesWritten;
    }
  } catch (error) {
    throw toWriteError(error, file);
  }
}

async function synced(handle: FileHandle, file: string): Promise<void> {
  try {
    await handle.datasync();
  } catch (error) {
    throw toWriteError(error, file);
  }
}

async function openForUpdate(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+');
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw toWriteError(error, file);
  }
  try {
    return await open(file, 'w+');
  } catch (error) {
    throw toWriteError(error, file);
  }
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
