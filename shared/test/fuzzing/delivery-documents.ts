import {
  buildChunkIndex,
  decodeChunkIndex,
  decodeFrame,
  decodePackDirectory,
  encodeChunkIndex,
  encodeFrame,
  encodePackDirectory,
  memorySource,
  tensorSpans,
  TRANSFORMS,
} from '../../src/delivery/index.js';
import { digestOf } from '../../src/ids/index.js';
import type { FuzzTarget } from '../../src/fuzzing/index.js';
import { seededRandom } from '../../src/statistics/index.js';
import { onnxDocuments } from './documents.js';

const random = seededRandom(3);
const floats = (scale: number) => Float32Array.from({ length: 2_000 }, () => random.normal() * scale);
const weights = floats(1);
const base = new Uint8Array(weights.map((weight) => weight * 1.001).buffer);
const content = new Uint8Array(weights.buffer);
const shape = { bytes: content.length, head: 0, type: 'float32' } as const;

const [model = new Uint8Array()] = onnxDocuments();
const index = buildChunkIndex(memorySource(model));
const encodedIndex = encodeChunkIndex(index);
const pack = Buffer.from(model);
const directory = () => {
  let offset = 0;
  const entries = index.chunks.map(({ bytes }, chunk) => {
    const entry = { chunk, transform: 'stored' as const, offset, bytes };
    offset += bytes;
    return entry;
  });
  return encodePackDirectory({ target: digestOf(encodedIndex), pack: digestOf(pack), bytes: offset, entries });
};

const frames = await Promise.all([
  encodeFrame(content, shape),
  encodeFrame(content, shape, base),
  encodeFrame(new Uint8Array(content.length), shape),
  encodeFrame(content, { ...shape, type: 'bytes' }),
]);

/** What a device decodes before any hash tells whether it is right. The first byte of a frame names its transform here. */
export const deliveryDocuments: readonly FuzzTarget[] = [
  {
    name: 'chunk-index',
    covers: ['decodeChunkIndex'],
    format: 'bytes',
    seeds: () => [encodedIndex],
    parse: decodeChunkIndex,
  },
  {
    name: 'pack-directory',
    covers: ['decodePackDirectory'],
    format: 'bytes',
    seeds: () => [directory()],
    parse: (bytes) => decodePackDirectory(bytes, { index, target: digestOf(encodedIndex) }),
  },
  {
    name: 'frame',
    covers: ['decodeFrame'],
    format: 'bytes',
    seeds: () => frames.map((frame) => Buffer.concat([Buffer.of(TRANSFORMS.indexOf(frame.transform)), frame.bytes])),
    parse: (bytes) => {
      const transform = TRANSFORMS[(bytes[0] ?? 0) % TRANSFORMS.length] ?? 'stored';
      return decodeFrame({ transform, bytes: bytes.subarray(1) }, shape, base);
    },
  },
  {
    name: 'tensor-spans',
    covers: ['tensorSpans'],
    format: 'bytes',
    seeds: onnxDocuments,
    parse: (bytes) => [tensorSpans(memorySource(bytes)), buildChunkIndex(memorySource(bytes))],
  },
];
