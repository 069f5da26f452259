import type { ByteSource } from './byte-source.js';
import { ELEMENT_BYTES, type ElementType } from './element-type.js';
import { tensorSpans } from './onnx-tensors.js';

/** One chunk before it is hashed. `head` bytes before the elements belong to no tensor: names and lengths of the wire format. */
export interface ChunkSpan {
  readonly offset: number;
  readonly bytes: number;
  readonly head: number;
  readonly type: ElementType;
}

export const MAX_CHUNK_BYTES = 512 * 1024;
const MIN_CHUNK_BYTES = 64 * 1024;
const NORMAL_CHUNK_BYTES = 256 * 1024;
/** Smaller tensors do not deserve the 35 bytes of an entry: they are cut by content, together with their neighbours. */
const MIN_TENSOR_BYTES = 8 * 1024;
/** What lies between two tensors goes in front of the second one up to this size, and is a chunk of its own beyond. */
const MAX_HEAD_BYTES = 1024;

/**
 * Cuts a file into chunks that cover it exactly: at the first element of every larger tensor, and by content inside of tensors and everywhere else,
 * so that what two files have in common becomes the same chunks wherever it lies. Holds one chunk in memory.
 */
export function* cutIntoChunks(source: ByteSource): Generator<ChunkSpan> {
  let position = 0;
  for (const tensor of tensorSpans(source)) {
    if (tensor.bytes < MIN_TENSOR_BYTES || tensor.offset < position) continue;
    if (tensor.offset - position > MAX_HEAD_BYTES) {
      yield* cutRegion(source, { start: position, elements: position, end: tensor.offset, type: 'bytes' });
      position = tensor.offset;
    }
    const end = tensor.offset + tensor.bytes;
    yield* cutRegion(source, { start: position, elements: tensor.offset, end, type: tensor.type });
    position = end;
  }
  yield* cutRegion(source, { start: position, elements: position, end: source.bytes, type: 'bytes' });
}

interface Region {
  readonly start: number;
  /** Where the elements begin. */
  readonly elements: number;
  readonly end: number;
  readonly type: ElementType;
}

function* cutRegion(source: ByteSource, { start, elements, end, type }: Region): Generator<ChunkSpan> {
  for (let offset = start; offset < end;) {
    const head = Math.max(0, elements - offset);
    const window = source.read(offset, Math.min(MAX_CHUNK_BYTES, end - offset));
    const cut = cutPoint(window);
    const isLast = offset + cut === end;
    const bytes = isLast ? cut : cut - ((cut - head) % ELEMENT_BYTES[type]);
    yield { offset, bytes, head, type };
    offset += bytes;
  }
}

/** One constant per byte value, by splitmix32 from 0: the same on every machine, for ever, or nothing would be found again. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => {
  let mixed = Math.imul(byte + 1, 0x9e3779b9);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return mixed ^ (mixed >>> 15);
});
/** Before the normal size a cut needs 20 zero bits, after it 16 (normalised chunking, level 2). */
const STRICT_MASK = 0xfffff000 | 0;
const LOOSE_MASK = 0xffff0000 | 0;

/** Xia et al., "FastCDC" (USENIX ATC 2016), algorithm 1: gear hash, cut-point skipping, normalised chunking. */
function cutPoint(window: Uint8Array): number {
  if (window.length <= MIN_CHUNK_BYTES) return window.length;
  const normal = Math.min(NORMAL_CHUNK_BYTES, window.length);
  let hash = 0;
  let position = MIN_CHUNK_BYTES;
  for (; position < normal; position++) {
    hash = ((hash << 1) + (GEAR[window[position] ?? 0] ?? 0)) | 0;
    if ((hash & STRICT_MASK) === 0) return position + 1;
  }
  for (; position < window.length; position++) {
    hash = ((hash << 1) + (GEAR[window[position] ?? 0] ?? 0)) | 0;
    if ((hash & LOOSE_MASK) === 0) return position + 1;
  }
  return window.length;
}
