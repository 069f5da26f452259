import { deflateRawSync } from 'node:zlib';
import type { ByteSource } from './byte-source.js';
import { elementsOf, encodeChunkIndex, type Chunk, type ChunkIndex } from './chunk-index.js';
import { elementEntropyBits } from './frame.js';
import { maxDirectoryBytes } from './pack-directory.js';

/** Smaller files have no index: they come in one answer, compressed as a whole. */
const MIN_INDEXED_BYTES = 64 * 1024;
/** What is estimated here must exceed the costs by this much, so that the estimate may be wrong. */
const MARGIN = 2;

/**
 * Does compressing the chunks of a file save more than index and directory cost? Where it does not (what is encrypted or compressed already), the file
 * is better fetched as it is, also by devices that have an older one: of such files nothing recurs. Reads on until the answer is clear.
 */
export function isWorthAnIndex(source: ByteSource, index: ChunkIndex): boolean {
  if (index.bytes < MIN_INDEXED_BYTES) return false;
  const costs = MARGIN * (encodeChunkIndex(index).length + maxDirectoryBytes(index.chunks.length));
  let saved = 0;
  for (const chunk of index.chunks) {
    saved += estimateSavedBytes(source.read(chunk.offset, chunk.bytes), chunk);
    if (saved > costs) return true;
  }
  return false;
}

function estimateSavedBytes(content: Uint8Array, chunk: Chunk): number {
  const { start, count, end } = elementsOf(chunk);
  const asElements =
    chunk.type === 'bytes' || count === 0 ? Infinity : elementEntropyBits(content.subarray(start, end), chunk.type) / 8;
  const asBytes = deflateRawSync(content, { level: 1 }).length;
  return Math.max(0, chunk.bytes - Math.min(asElements, asBytes));
}
