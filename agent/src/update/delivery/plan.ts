import type { Digest } from '@drover/shared/ids';
import type { Chunk, ChunkIndex, PackDirectory, PackEntry } from '@drover/shared/delivery';

/** Chunks of a file that lies whole on this disk. */
export interface LocalFile {
  readonly file: Digest;
  readonly bytes: number;
  /** Digest of its index, by which the control plane knows it as a base. */
  readonly index: Digest;
  /** Offset by hash of the chunk. */
  readonly chunks: ReadonlyMap<string, number>;
}

/** A part of a file at the control plane, asked for by the digest of that file. */
export interface Resource {
  readonly kind: 'pack' | 'blob';
  readonly digest: Digest;
}

/** Where one chunk comes from; the union below derives from this map. */
interface PieceArguments {
  copy: { readonly from: Digest; readonly offset: number };
  /** `base`: the file on this disk that the frame is coded against, if it is. */
  fetch: { readonly source: Resource; readonly entry: Omit<PackEntry, 'chunk'>; readonly base?: Digest | undefined };
}
export type Piece = {
  [Kind in keyof PieceArguments]: { readonly kind: Kind; readonly chunk: Chunk } & PieceArguments[Kind];
}[keyof PieceArguments];
export type FetchPiece = Extract<Piece, { kind: 'fetch' }>;

export interface DeliveryFacts {
  readonly index: ChunkIndex;
  /** Chunks at the beginning of the file that are on the disk already and were checked. */
  readonly done: number;
  readonly local: readonly LocalFile[];
  /** What the control plane offers compressed, perhaps against the base. */
  readonly directory?: PackDirectory | undefined;
}

/** The plain chunk as it lies in the file. */
export const plainPiece = ({ file }: ChunkIndex, chunk: Chunk): FetchPiece => ({
  kind: 'fetch',
  chunk,
  source: { kind: 'blob', digest: file },
  entry: { transform: 'stored', offset: chunk.offset, bytes: chunk.bytes },
});

/** One piece per missing chunk, in the order of the file: a copy where the chunk is on this disk, else its frame, else the plain chunk. */
export function planDelivery({ index, done, local, directory }: DeliveryFacts): Piece[] {
  const entries = new Map(directory?.entries.map((entry) => [entry.chunk, entry]));
  return index.chunks.slice(done).map((chunk, position): Piece => {
    const owner = local.find(({ chunks }) => chunks.has(chunk.hex));
    if (owner) return { kind: 'copy', chunk, from: owner.file, offset: owner.chunks.get(chunk.hex) ?? 0 };
    const entry = entries.get(done + position);
    if (!directory || !entry) return plainPiece(index, chunk);
    return { kind: 'fetch', chunk, source: { kind: 'pack', digest: directory.pack }, entry, base: directory.base };
  });
}

/** Bytes that the pieces take on the wire. */
export const bytesToFetch = (pieces: readonly Piece[]): number =>
  pieces.reduce((sum, piece) => sum + (piece.kind === 'fetch' ? piece.entry.bytes : 0), 0);

/**
 * The file on this disk to ask a delta against: the one that has most of the chunks; among equals the one of the most similar size, and then the
 * first. A bad choice costs bytes, up to those of the compressed file, and nothing else.
 */
export function chooseBase(index: ChunkIndex, local: readonly LocalFile[]): LocalFile | undefined {
  const inCommon = ({ chunks }: LocalFile): number =>
    index.chunks.reduce((sum, { hex, bytes }) => sum + (chunks.has(hex) ? bytes : 0), 0);
  const candidates = local
    .map((file) => ({ file, common: inCommon(file), distance: Math.abs(file.bytes - index.bytes) }))
    // A file of another kind has nothing to give.
    .filter(({ file, common }) => common > 0 || (file.bytes > index.bytes / 2 && file.bytes < index.bytes * 2));
  candidates.sort((left, right) => right.common - left.common || left.distance - right.distance);
  return candidates[0]?.file;
}

/**
 * For each piece that is fetched, where the request that brings it ends (exclusive): requests are as few as possible. A gap of at most
 * `MAX_GAP_BYTES` is cheaper to pass over than a request.
 */
export function requestEnds(pieces: readonly Piece[]): Map<Piece, number> {
  const ends = new Map<Piece, number>();
  let later: FetchPiece | undefined;
  let end = 0;
  for (const piece of [...pieces].reverse()) {
    if (piece.kind !== 'fetch') continue;
    const stop = piece.entry.offset + piece.entry.bytes;
    const continues =
      later?.source.digest === piece.source.digest &&
      later.entry.offset >= stop &&
      later.entry.offset - stop <= MAX_GAP_BYTES;
    if (!continues) end = stop;
    ends.set(piece, end);
    later = piece;
  }
  return ends;
}

export const MAX_GAP_BYTES = 32 * 1024;
