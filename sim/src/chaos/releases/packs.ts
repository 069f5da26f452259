import { createHash } from 'node:crypto';
import {
  buildChunkIndex,
  encodeChunkIndex,
  encodePackDirectory,
  makePack,
  memorySource,
  type IndexedSource,
} from '@drover/shared/delivery';
import { digestOf, type Digest } from '@drover/shared/ids';

/** The index of a file, as a publisher makes it, and packs against it, as a control plane does. */
export interface IndexedFile extends IndexedSource {
  readonly encoded: Buffer;
}

export function indexed(bytes: Uint8Array): IndexedFile {
  const source = memorySource(bytes);
  const index = buildChunkIndex(source);
  const encoded = encodeChunkIndex(index);
  return { source, index, encoded, indexDigest: digestOf(encoded) };
}

export interface Pack {
  readonly directory: Buffer;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** Packs between any two of these files, made when they are first asked for. */
export function packsOf(files: readonly IndexedFile[]) {
  const byIndex = new Map(files.map((file) => [file.indexDigest, file]));
  const made = new Map<string, Promise<Pack>>();
  async function make(target: IndexedFile, base: IndexedFile | undefined): Promise<Pack> {
    const frames: Uint8Array[] = [];
    const write = (frame: Uint8Array): Promise<void> => Promise.resolve(void frames.push(Buffer.from(frame)));
    const directory = encodePackDirectory(
      await makePack({ target, base, write, signal: new AbortController().signal }),
    );
    const bytes = Buffer.concat(frames);
    return { directory, bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest };
  }
  /** undefined where one of them is not known here. */
  return (target: Digest, base: Digest | undefined): Promise<Pack> | undefined => {
    const [to, from] = [byIndex.get(target), base && byIndex.get(base)];
    if (!to || (base && !from)) return undefined;
    const key = `${target} ${base ?? ''}`;
    const pack = made.get(key) ?? make(to, from);
    made.set(key, pack);
    return pack;
  };
}
