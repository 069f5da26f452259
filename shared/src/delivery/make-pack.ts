import { createHash } from 'node:crypto';
import type { Digest } from '../ids/index.js';
import type { ByteSource } from './byte-source.js';
import { elementsOf, type ChunkIndex } from './chunk-index.js';
import { invalidIndex } from './errors.js';
import { encodeFrame, needsBase } from './frame.js';
import { tensorSpans } from './onnx-tensors.js';
import type { PackDirectory, PackEntry } from './pack-directory.js';
import { pairTensors } from './tensor-pairs.js';

/** A whole file with its index. */
export interface IndexedSource {
  readonly index: ChunkIndex;
  /** Digest of the encoded index. */
  readonly indexDigest: Digest;
  readonly source: ByteSource;
}

export interface PackRecipe {
  readonly target: IndexedSource;
  readonly base?: IndexedSource | undefined;
  /** Appends to the pack. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Codes every chunk of the target that the base does not have, against the base where that is smaller (docs/protocol.md, section 10, steps 4 and 5).
 * Holds one chunk at a time.
 *
 * @throws DeliveryError CHUNK_INDEX_INVALID when the index is not that of the file; what `write` throws
 */
export async function makePack({ target, base, write, signal }: PackRecipe): Promise<PackDirectory> {
  const known = new Set(base?.index.chunks.map(({ hex }) => hex));
  const locate = base && pairTensors(tensorSpans(target.source), tensorSpans(base.source));
  const hash = createHash('sha256');
  const entries: PackEntry[] = [];
  let offset = 0;
  for (const [number, chunk] of target.index.chunks.entries()) {
    signal.throwIfAborted();
    if (known.has(chunk.hex)) continue;
    const content = Buffer.from(target.source.read(chunk.offset, chunk.bytes));
    if (createHash('sha256').update(content).digest('hex') !== chunk.hex)
      throw invalidIndex('it is not that of its file');
    const baseOffset = locate?.(chunk);
    const { start, end } = elementsOf(chunk);
    const elements = baseOffset === undefined ? undefined : base?.source.read(baseOffset, end - start);
    const { transform, bytes } = await encodeFrame(content, chunk, elements);
    await write(bytes);
    hash.update(bytes);
    const against = needsBase(transform) && baseOffset !== undefined ? { baseOffset } : {};
    entries.push({ chunk: number, transform, offset, bytes: bytes.length, ...against });
    offset += bytes.length;
  }
  const pack = `sha256:${hash.digest('hex')}` as Digest;
  return { target: target.indexDigest, base: base?.index.file, pack, bytes: offset, entries };
}
