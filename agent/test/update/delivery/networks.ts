import {
  buildChunkIndex,
  encodeChunkIndex,
  encodePackDirectory,
  makePack,
  memorySource,
  type PackDirectory,
} from '@drover/shared/delivery';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import { encodeOnnx, floatTensor, graph, model as onnxModel } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';
import type { ReleaseServer } from '../fixtures/release-server.js';

export type Weights = Readonly<Record<string, Float32Array>>;

export function weights(name: string, count: number, seed: number): Weights {
  const random = seededRandom(seed);
  return { [name]: Float32Array.from({ length: count }, () => random.normal() * 0.05) };
}

export function fineTuned(values: Weights, relative: number): Weights {
  const random = seededRandom(99);
  return Object.fromEntries(
    Object.entries(values).map(([name, old]) => [name, old.map((weight) => weight * (1 + relative * random.normal()))]),
  );
}

/** A file with its index, as a publisher makes them. */
export interface PublishedFile {
  readonly reference: FileReference;
  readonly content: Uint8Array;
  readonly encodedIndex: Uint8Array;
  readonly chunks: number;
}

export function network(values: Weights): PublishedFile {
  const initializers = Object.entries(values).map(([name, data]) => floatTensor(name, [data.length], data));
  const parts = { name: 'net', inputs: [], outputs: [], nodes: [], initializers };
  return indexed(Buffer.from(encodeOnnx(onnxModel({ opset: 17, graph: graph(parts) }))));
}

export function indexed(content: Uint8Array): PublishedFile {
  const index = buildChunkIndex(memorySource(content));
  const encodedIndex = encodeChunkIndex(index);
  return {
    reference: {
      path: 'model.onnx',
      digest: digestOf(content),
      bytes: content.length,
      index: { digest: digestOf(encodedIndex), bytes: encodedIndex.length },
    },
    content,
    encodedIndex,
    chunks: index.chunks.length,
  };
}

const sourceOf = ({ content, encodedIndex }: PublishedFile) => ({
  index: buildChunkIndex(memorySource(content)),
  indexDigest: digestOf(encodedIndex),
  source: memorySource(content),
});

/** Puts a file and its index on the server. */
export function offer(server: ReleaseServer, { content, encodedIndex }: PublishedFile): void {
  for (const bytes of [content, encodedIndex]) server.put(`blobs/${digestHex(digestOf(bytes))}`, bytes);
}

export const indexDigestOf = ({ encodedIndex }: PublishedFile): Digest => digestOf(encodedIndex);
export const directoryPath = (target: PublishedFile, base?: PublishedFile): string =>
  `pack-directories/${digestHex(indexDigestOf(target))}` + (base ? `/from/${digestHex(indexDigestOf(base))}` : '');
export const packPath = ({ pack }: PackDirectory): string => `packs/${digestHex(pack)}`;

/** Makes the pack as the control plane does, and puts it on the server. */
export async function offerPack(
  server: ReleaseServer,
  target: PublishedFile,
  base?: PublishedFile,
): Promise<{ directory: PackDirectory; pack: Buffer }> {
  const frames: Buffer[] = [];
  const directory = await makePack({
    target: sourceOf(target),
    base: base && sourceOf(base),
    write: (bytes) => {
      frames.push(Buffer.from(bytes));
      return Promise.resolve();
    },
    signal: new AbortController().signal,
  });
  const pack = Buffer.concat(frames);
  server.put(directoryPath(target, base), encodePackDirectory(directory));
  server.put(packPath(directory), pack);
  return { directory, pack };
}
