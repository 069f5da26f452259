import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  buildChunkIndex,
  decodePackDirectory,
  DeliveryError,
  encodeChunkIndex,
  encodePackDirectory,
  elementsOf,
  memorySource,
  pairTensors,
  tensorSpans,
  type PackDirectory,
} from '../../src/delivery/index.js';
import { digestOf } from '../../src/ids/index.js';
import { layer, network } from './networks.js';

const content = network([layer('a', 300_000, 1), layer('b', 60_000, 2), layer('c', 9_000, 3)]);
const index = buildChunkIndex(memorySource(content));
const target = digestOf(encodeChunkIndex(index));
const base = { file: digestOf(Buffer.from('base')), bytes: 2_000_000 };
const expected = { index, target, base };

const directory = (change: Partial<PackDirectory> = {}): PackDirectory => {
  let offset = 0;
  const entries = index.chunks.slice(1).map(({ bytes }, number) => {
    const entry = {
      chunk: number + 1,
      transform: number % 2 === 0 ? ('difference-symbols' as const) : ('symbols' as const),
      offset,
      bytes: Math.ceil(bytes / 2),
      ...(number % 2 === 0 && { baseOffset: 1_900_000 - number * 1000 }),
    };
    offset += entry.bytes;
    return entry;
  });
  return { target, base: base.file, pack: digestOf(Buffer.from('pack')), bytes: offset, entries, ...change };
};

describe('when a pack directory is read', () => {
  it('is what was written', () => {
    expect(decodePackDirectory(encodePackDirectory(directory()), expected)).toEqual(directory());
  });

  it('says nothing of a base where it has none', () => {
    const entries = directory().entries.map(({ baseOffset: _, ...entry }) => ({
      ...entry,
      transform: 'stored' as const,
    }));
    const whole = directory({ base: undefined, entries });
    expect(decodePackDirectory(encodePackDirectory(whole), { index, target })).toEqual(whole);
  });

  const [first, ...others] = directory().entries as [PackDirectory['entries'][0], ...PackDirectory['entries']];
  it.each<[string, Partial<PackDirectory>]>([
    ['is for another file', { target: digestOf(Buffer.from('x')) }],
    ['is for another base', { base: digestOf(Buffer.from('x')) }],
    ['names a chunk that does not exist', { entries: [{ ...first, chunk: 99 }] }],
    ['has a frame larger than its chunk', { entries: [{ ...first, bytes: 600_000 }, ...others] }],
    ['points beyond its base', { entries: [{ ...first, baseOffset: 2_000_001 }, ...others] }],
    ['has another size than its frames', { bytes: 5 }],
  ])('is refused when it %s', (_what, change) => {
    const encoded = encodePackDirectory(directory(change));
    expect(() => decodePackDirectory(encoded, expected)).toThrow(DeliveryError);
  });

  it('is refused when changed in a way that makes no sense, and is bounded', () => {
    const encoded = encodePackDirectory(directory());
    fc.assert(
      fc.property(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(encoded);
        damaged[at] = (damaged[at] ?? 0) ^ flip;
        try {
          const { entries } = decodePackDirectory(damaged, expected);
          for (const { chunk, bytes } of entries) expect(bytes).toBeLessThanOrEqual(index.chunks[chunk]?.bytes ?? -1);
        } catch (error) {
          expect(error).toBeInstanceOf(DeliveryError);
        }
      }),
      { numRuns: 500 },
    );
    expect(() => decodePackDirectory(Buffer.alloc(100_000), expected)).toThrow('too long');
  });
});

describe('when tensors are paired', () => {
  const weights = index.chunks.filter(({ type }) => type === 'float32');
  const spansOf = (file: Uint8Array) => tensorSpans(memorySource(file));
  const locate = (older: Uint8Array) => {
    const locator = pairTensors(spansOf(content), spansOf(older));
    return weights.map((chunk) => {
      const at = locator(chunk);
      const { start, end } = elementsOf(chunk);
      return at === undefined ? undefined : digestOf(older.subarray(at, at + end - start));
    });
  };
  const own = weights.map((chunk) => {
    const { start, end } = elementsOf(chunk);
    return digestOf(content.subarray(chunk.offset + start, chunk.offset + end));
  });

  it('finds the same elements wherever the tensor lies in the base', () => {
    const older = network([layer('c', 9_000, 3), layer('new', 100, 4), layer('b', 60_000, 2), layer('a', 300_000, 1)]);
    expect(locate(older)).toEqual(own);
  });

  it('goes by type and size where the exporter has renamed everything', () => {
    const older = network([layer('0', 300_000, 1), layer('1', 60_000, 2), layer('2', 9_000, 3)]);
    expect(locate(older)).toEqual(own);
  });

  it('finds nothing for a tensor of another size', () => {
    const older = network([layer('a', 300_001, 1)]);
    expect(locate(older).every((found) => found === undefined)).toBe(true);
  });
});
