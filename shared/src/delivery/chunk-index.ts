import { createHash } from 'node:crypto';
import { digestHex, type Digest } from '../ids/index.js';
import { MAX_FILE_BYTES, MAX_INDEX_BYTES } from '../manifest/index.js';
import type { ByteSource } from './byte-source.js';
import { cutIntoChunks, MAX_CHUNK_BYTES, type ChunkSpan } from './chunker.js';
import { ELEMENT_BYTES, ELEMENT_TYPES } from './element-type.js';
import { invalidIndex } from './errors.js';
import { WireReader, WireWriter } from './wire.js';

export interface Chunk extends ChunkSpan {
  /** SHA-256 of the chunk's bytes, in hex. */
  readonly hex: string;
}

/** The chunks of one file, in the order of the file, covering it exactly. */
export interface ChunkIndex {
  /** Digest of the whole file. */
  readonly file: Digest;
  readonly bytes: number;
  readonly chunks: readonly Chunk[];
}

const MAGIC = Buffer.from('drvindx1');
const HASH_BYTES = 32;
const HEAD_FLAG = 8;

/** Reads the file once. */
export function buildChunkIndex(source: ByteSource): ChunkIndex {
  const whole = createHash('sha256');
  const chunks: Chunk[] = [];
  for (const span of cutIntoChunks(source)) {
    const content = source.read(span.offset, span.bytes);
    whole.update(content);
    chunks.push({ ...span, hex: createHash('sha256').update(content).digest('hex') });
  }
  return { file: `sha256:${whole.digest('hex')}` as Digest, bytes: source.bytes, chunks };
}

/** docs/protocol.md, section 10, step 2. The same index always gives the same bytes. */
export function encodeChunkIndex({ file, bytes, chunks }: ChunkIndex): Buffer {
  const writer = new WireWriter().bytes(MAGIC).bytes(Buffer.from(digestHex(file), 'hex'));
  writer.varint(bytes).varint(chunks.length);
  for (const { bytes: length, head, type } of chunks) {
    writer.varint(length).byte(ELEMENT_TYPES.indexOf(type) + (head > 0 ? HEAD_FLAG : 0));
    if (head > 0) writer.varint(head);
  }
  for (const { hex } of chunks) writer.bytes(Buffer.from(hex, 'hex'));
  return writer.finish();
}

/** Enough to tell an index from other files. */
export const isChunkIndex = (start: Uint8Array): boolean => MAGIC.equals(start.subarray(0, MAGIC.length));

/**
 * Reads an index; holds it to its bounds, and to covering its file without gap or overlap.
 *
 * @throws DeliveryError CHUNK_INDEX_INVALID
 */
export function decodeChunkIndex(content: Uint8Array): ChunkIndex {
  if (content.length > MAX_INDEX_BYTES) throw invalidIndex(`it exceeds ${MAX_INDEX_BYTES} bytes`);
  if (!isChunkIndex(content)) throw invalidIndex('it does not begin as one');
  const reader = new WireReader(content, invalidIndex);
  reader.bytes(MAGIC.length);
  const file = `sha256:${Buffer.from(reader.bytes(HASH_BYTES)).toString('hex')}` as Digest;
  const bytes = reader.varint(MAX_FILE_BYTES);
  // Every chunk needs at least its hash and two bytes more, so this cannot make us reserve more than was sent.
  const count = reader.varint(Math.floor(reader.remaining / (HASH_BYTES + 2)));
  let offset = 0;
  const spans: ChunkSpan[] = [];
  for (let number = 0; number < count; number++) {
    const span = readSpan(reader, offset);
    offset += span.bytes;
    spans.push(span);
  }
  if (offset !== bytes) throw invalidIndex(`its chunks have ${offset} bytes, its file ${bytes}`);
  const chunks = spans.map((span) => ({ ...span, hex: Buffer.from(reader.bytes(HASH_BYTES)).toString('hex') }));
  reader.end();
  return { file, bytes, chunks };
}

function readSpan(reader: WireReader, offset: number): ChunkSpan {
  const bytes = reader.varint(MAX_CHUNK_BYTES);
  const flags = reader.byte();
  const type = ELEMENT_TYPES[flags % HEAD_FLAG];
  if (bytes === 0 || type === undefined || flags >= 2 * HEAD_FLAG) throw invalidIndex('a chunk has an unknown form');
  const head = flags >= HEAD_FLAG ? reader.varint(bytes) : 0;
  if (flags >= HEAD_FLAG && head === 0) throw invalidIndex('a chunk states an empty head');
  return { offset, bytes, head, type };
}

/** Where the whole elements of a chunk lie within it; what is before and after them is coded as bytes. */
export function elementsOf({ bytes, head, type }: Pick<Chunk, 'bytes' | 'head' | 'type'>): {
  start: number;
  count: number;
  end: number;
} {
  const count = Math.floor((bytes - head) / ELEMENT_BYTES[type]);
  return { start: head, count, end: head + count * ELEMENT_BYTES[type] };
}
