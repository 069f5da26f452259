import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  buildChunkIndex,
  decodeChunkIndex,
  DeliveryError,
  descriptorSource,
  elementsOf,
  encodeChunkIndex,
  MAX_CHUNK_BYTES,
  memorySource,
  tensorSpans,
  type ChunkIndex,
} from '../../src/delivery/index.js';
import { digestOf } from '../../src/ids/index.js';
import { decodeOnnx } from '../../src/onnx/index.js';
import { seededRandom } from '../../src/statistics/index.js';
import { layer, network } from './networks.js';

const indexOf = (content: Uint8Array) => buildChunkIndex(memorySource(content));
const noise = (bytes: number, seed: number): Buffer => {
  const random = seededRandom(seed);
  return Buffer.from(Uint32Array.from({ length: Math.ceil(bytes / 4) }, () => random.nextInt(2 ** 32)).buffer).subarray(
    0,
    bytes,
  );
};
const shareInCommon = (left: ChunkIndex, right: ChunkIndex): number => {
  const known = new Set(right.chunks.map(({ hex }) => hex));
  const common = left.chunks.filter(({ hex }) => known.has(hex));
  return common.reduce((sum, { bytes }) => sum + bytes, 0) / left.bytes;
};
const reassembled = (content: Uint8Array, { chunks }: ChunkIndex) =>
  Buffer.concat(chunks.map(({ offset, bytes }) => content.subarray(offset, offset + bytes)));

const data = fileURLToPath(new URL('../../../../shared/data/', import.meta.url));
const realModels = [
  'mnist/mnist.onnx',
  'face-detection/version-RFB-320.onnx',
  'face-detection/version-slim-320.onnx',
  'onnx-light/light_squeezenet.onnx',
].map((name) => join(process.env['DROVER_DATA_DIR'] ?? data, name));

describe('when a file is cut', () => {
  it('covers any file exactly, with every hash of what lies there', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_500_000 }), fc.integer(), (bytes, seed) => {
        const content = noise(bytes, seed);
        const index = indexOf(content);
        expect(index).toMatchObject({ bytes, file: digestOf(content) });
        expect(reassembled(content, index).equals(content)).toBe(true);
        for (const { offset, bytes: length, hex } of index.chunks) {
          expect(length).toBeLessThanOrEqual(MAX_CHUNK_BYTES);
          expect(digestOf(content.subarray(offset, offset + length))).toBe(`sha256:${hex}`);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('has the same chunks on both sides of an insertion', () => {
    const content = noise(8_000_000, 1);
    const longer = Buffer.concat([
      content.subarray(0, 3_000_000),
      Buffer.from('inserted'),
      content.subarray(3_000_000),
    ]);
    expect(shareInCommon(indexOf(longer), indexOf(content))).toBeGreaterThan(0.8);
  });

  it('begins a chunk of its own type at each large tensor, and aligns cuts within it to its elements', () => {
    const content = network([layer('a', 300_000, 1), layer('tiny', 10, 2), layer('b', 5_000, 3)]);
    const [first, ...rest] = tensorSpans(memorySource(content)).filter(({ bytes }) => bytes > 1_000);
    const { chunks } = indexOf(content);
    for (const span of [first, ...rest]) {
      const chunk = chunks.find(({ offset, head }) => offset + head === span?.offset);
      expect(chunk?.type).toBe('float32');
    }
    for (const chunk of chunks.filter(({ type }) => type === 'float32'))
      expect(elementsOf(chunk).end).toBe(chunk.bytes);
  });

  it('keeps all chunks but one tensor when that one changes and another is renamed', () => {
    const layers = [layer('a', 200_000, 1), layer('b', 50_000, 2), layer('c', 200_000, 3)];
    const [a, , c] = layers as [(typeof layers)[0], (typeof layers)[0], (typeof layers)[0]];
    const changed = network([a, layer('b', 50_000, 9), { ...c, name: 'c-renamed' }]);
    const share = shareInCommon(indexOf(changed), indexOf(network(layers)));
    expect(share).toBeGreaterThan(0.55);
    expect(share).toBeLessThan(0.95);
  });

  it('reads a file in pieces to the same index as from memory', () => {
    const folder = mkdtempSync(join(tmpdir(), 'drover-index-'));
    const file = join(folder, 'model.onnx');
    const content = network([layer('a', 400_000, 1), layer('b', 3_000, 2)]);
    writeFileSync(file, content);
    const descriptor = openSync(file, 'r');
    try {
      expect(buildChunkIndex(descriptorSource(descriptor, statSync(file).size))).toEqual(indexOf(content));
    } finally {
      closeSync(descriptor);
      rmSync(folder, { recursive: true });
    }
  });

  it.each(realModels.filter((file) => existsSync(file)))('finds every initializer of %s', (file) => {
    const content = readFileSync(file);
    const found = tensorSpans(memorySource(content)).filter(({ name }) => name !== '');
    // Packed floats lie in the file as raw data does: little-endian (protobuf.dev, "Encoding").
    const initializers = (decodeOnnx(content).graph?.initializer ?? [])
      .map(({ name, rawData, floatData }) => ({
        name,
        bytes: rawData.length > 0 ? rawData : new Uint8Array(Float32Array.from(floatData).buffer),
      }))
      .filter(({ bytes }) => bytes.length > 0);
    expect(initializers.length).toBeGreaterThan(0);
    const spans = new Map(found.map((span) => [span.name, span]));
    for (const { name, bytes } of initializers) {
      const span = spans.get(name);
      expect(content.subarray(span?.offset, (span?.offset ?? 0) + (span?.bytes ?? 0)).equals(bytes)).toBe(true);
    }
    expect(reassembled(content, indexOf(content)).equals(content)).toBe(true);
  });

  it('takes a file that is no model, or a broken one, as plain bytes', () => {
    const broken = Buffer.from(network([layer('a', 100_000, 1)])).subarray(0, 200_000);
    for (const content of [broken, noise(100_000, 2), Buffer.from('{"a": 1}'), Buffer.alloc(0)]) {
      expect(tensorSpans(memorySource(content))).toEqual([]);
      expect(indexOf(content).chunks.every(({ type }) => type === 'bytes')).toBe(true);
    }
  });

  it('never fails on bytes of any kind', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), (content) => {
        expect(indexOf(content).bytes).toBe(content.length);
      }),
    );
  });
});

describe('when an index is read', () => {
  const index = indexOf(network([layer('a', 300_000, 1), layer('b', 5_000, 2)]));
  const encoded = encodeChunkIndex(index);

  it('is what was written, in a few bytes more than its hashes', () => {
    expect(decodeChunkIndex(encoded)).toEqual(index);
    expect(encoded.length).toBeLessThan(60 + index.chunks.length * 38);
  });

  it('is refused when it was changed in a way that leaves no index, and never read as two different ones', () => {
    fc.assert(
      fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, isCut) => {
        const damaged = Buffer.from(isCut ? encoded.subarray(0, at) : encoded);
        if (!isCut) damaged[at] = (damaged[at] ?? 0) ^ flip;
        try {
          expect(encodeChunkIndex(decodeChunkIndex(damaged)).equals(damaged)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(DeliveryError);
          expect(error).toMatchObject({ code: 'CHUNK_INDEX_INVALID' });
        }
      }),
      { numRuns: 500 },
    );
  });

  const [first, ...others] = index.chunks as [ChunkIndex['chunks'][0], ...ChunkIndex['chunks']];
  it.each<[string, ChunkIndex]>([
    ['chunks that end before the file', { ...index, bytes: index.bytes + 1 }],
    ['chunks that exceed the file', { ...index, bytes: index.bytes - 1 }],
    ['an empty chunk', { ...index, chunks: [{ ...first, bytes: 0 }, ...index.chunks] }],
    ['a chunk above the bound', { ...index, chunks: [{ ...first, bytes: MAX_CHUNK_BYTES + 1 }, ...others] }],
    ['a head that is longer than its chunk', { ...index, chunks: [{ ...first, head: first.bytes + 1 }, ...others] }],
  ])('is refused with %s', (_what, wrong) => {
    expect(() => decodeChunkIndex(encodeChunkIndex(wrong))).toThrow(DeliveryError);
  });

  it('is refused with more chunks than it has bytes for', () => {
    const start = Buffer.concat([encoded.subarray(0, 40), Buffer.from([1, 255, 255, 255, 127])]);
    expect(() => decodeChunkIndex(start)).toThrow(DeliveryError);
  });
});
