import { digestHex, type Digest } from '../ids/index.js';
import { MAX_FILE_BYTES } from '../manifest/index.js';
import type { ChunkIndex } from './chunk-index.js';
import { MAX_CHUNK_BYTES } from './chunker.js';
import { invalidDirectory } from './errors.js';
import { needsBase, TRANSFORMS, type Transform } from './frame.js';
import { WireReader, WireWriter } from './wire.js';

/** One frame of a pack. */
export interface PackEntry {
  /** Position of its chunk in the index of the target. */
  readonly chunk: number;
  readonly transform: Transform;
  /** Within the pack. Frames follow each other without gaps. */
  readonly offset: number;
  readonly bytes: number;
  /** Where the elements to code against begin in the base file; only for transforms that need one. */
  readonly baseOffset?: number;
}

/**
 * What lies where in a pack: the frames of one file, without those chunks that its base has as well. It is not signed: what decides whether a chunk is right is
 * its hash in the index of the file, and here everything is only held to bounds.
 */
export interface PackDirectory {
  /** Digest of the index of the file that the pack is for. */
  readonly target: Digest;
  /** Digest of the base file. */
  readonly base?: Digest | undefined;
  /** Digest of the pack: its name. */
  readonly pack: Digest;
  readonly bytes: number;
  /** In ascending order of chunks. */
  readonly entries: readonly PackEntry[];
}

const MAGIC = Buffer.from('drvpack1');
const HASH_BYTES = 32;
const NO_BASE = Buffer.alloc(HASH_BYTES);
/** Chunk, transform, length and base offset, each at its longest. */
const MAX_ENTRY_BYTES = 14;
const BASE_BIAS = 2 * MAX_FILE_BYTES;

/** Above this, a directory for `chunks` chunks is not read. */
export const maxDirectoryBytes = (chunks: number): number =>
  MAGIC.length + 3 * HASH_BYTES + 20 + chunks * MAX_ENTRY_BYTES;

/** docs/protocol.md, section 10, step 5. */
export function encodePackDirectory({ target, base, pack, bytes, entries }: PackDirectory): Buffer {
  const writer = new WireWriter().bytes(MAGIC).bytes(hashOf(target));
  writer.bytes(base === undefined ? NO_BASE : hashOf(base)).bytes(hashOf(pack));
  writer.varint(bytes).varint(entries.length);
  let chunk = 0;
  let expectedBase = 0;
  for (const entry of entries) {
    writer
      .varint(entry.chunk - chunk)
      .byte(TRANSFORMS.indexOf(entry.transform))
      .varint(entry.bytes);
    if (entry.baseOffset !== undefined) {
      // Bases mostly lie in the order of their targets: what is written is the small difference from there, folded.
      writer.varint(folded(entry.baseOffset - expectedBase));
      expectedBase = entry.baseOffset;
    }
    chunk = entry.chunk + 1;
  }
  return writer.finish();
}

/**
 * @throws DeliveryError PACK_DIRECTORY_INVALID, also when it is for another file than `index`, whose digest is `target`, or for another base
 */
export function decodePackDirectory(
  content: Uint8Array,
  { index, target, base }: { index: ChunkIndex; target: Digest; base?: { file: Digest; bytes: number } | undefined },
): PackDirectory {
  if (content.length > maxDirectoryBytes(index.chunks.length)) throw invalidDirectory('it is too long for its file');
  const reader = new WireReader(content, invalidDirectory);
  if (!MAGIC.equals(reader.bytes(MAGIC.length))) throw invalidDirectory('it does not begin as one');
  if (!hashOf(target).equals(reader.bytes(HASH_BYTES))) throw invalidDirectory('it is for another file');
  const statedBase = reader.bytes(HASH_BYTES);
  if (!(base ? hashOf(base.file) : NO_BASE).equals(statedBase)) throw invalidDirectory('it is for another base');
  const pack = `sha256:${Buffer.from(reader.bytes(HASH_BYTES)).toString('hex')}` as Digest;
  const bytes = reader.varint(MAX_FILE_BYTES);
  const count = reader.varint(index.chunks.length);
  const entries: PackEntry[] = [];
  let chunk = 0;
  let offset = 0;
  let expectedBase = 0;
  for (let number = 0; number < count; number++) {
    chunk += reader.varint(index.chunks.length);
    const transform = TRANSFORMS[reader.byte()];
    const length = reader.varint(MAX_CHUNK_BYTES);
    const size = index.chunks[chunk]?.bytes;
    if (transform === undefined || size === undefined) throw invalidDirectory('an entry has an unknown form');
    if (length > size) throw invalidDirectory('a frame is larger than its chunk');
    let entry: PackEntry = { chunk, transform, offset, bytes: length };
    if (needsBase(transform)) {
      const baseOffset = expectedBase + unfolded(reader.varint(BASE_BIAS));
      if (baseOffset < 0 || baseOffset > (base?.bytes ?? 0))
        throw invalidDirectory('an entry lies outside of its base');
      expectedBase = baseOffset;
      entry = { ...entry, baseOffset };
    }
    entries.push(entry);
    chunk += 1;
    offset += length;
  }
  reader.end();
  if (offset !== bytes) throw invalidDirectory(`its frames have ${offset} bytes, its pack ${bytes}`);
  return { target, base: base?.file, pack, bytes, entries };
}

const hashOf = (digest: Digest): Buffer => Buffer.from(digestHex(digest), 'hex');
const folded = (difference: number): number => (difference < 0 ? -2 * difference - 1 : 2 * difference);
const unfolded = (value: number): number => (value % 2 === 1 ? -(value + 1) / 2 : value / 2);
