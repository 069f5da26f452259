import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_CHUNK_BYTES, type ChunkIndex, type PackDirectory } from '@drover/shared/delivery';
import { digestOf } from '@drover/shared/ids';
import {
  bytesToFetch,
  chooseBase,
  MAX_GAP_BYTES,
  planDelivery,
  requestEnds,
  type LocalFile,
} from '../../../src/update/delivery/plan.js';

const hexOf = (number: number) => number.toString(16).padStart(64, '0');
const named = (name: string) => digestOf(Buffer.from(name));

const cases = fc
  .array(
    fc.record({
      bytes: fc.integer({ min: 1, max: MAX_CHUNK_BYTES }),
      hash: fc.nat(40),
      isLocal: fc.boolean(),
      isPacked: fc.boolean(),
      packedBytes: fc.integer({ min: 0, max: 100_000 }),
    }),
    { maxLength: 40 },
  )
  .chain((chunks) => fc.tuple(fc.constant(chunks), fc.nat(chunks.length)))
  .map(([parts, done]) => {
    let offset = 0;
    let packed = 0;
    const chunks: ChunkIndex['chunks'][0][] = [];
    const local = new Map<string, number>();
    const entries: PackDirectory['entries'][0][] = [];
    for (const [number, part] of parts.entries()) {
      const hex = hexOf(part.hash);
      if (part.isLocal) local.set(hex, number * 7);
      if (part.isPacked) {
        const bytes = Math.min(part.bytes, part.packedBytes);
        entries.push({ chunk: number, transform: 'symbols', offset: packed, bytes });
        packed += bytes;
      }
      chunks.push({ offset, bytes: part.bytes, head: 0, type: 'float32', hex });
      offset += part.bytes;
    }
    const index: ChunkIndex = { file: named('file'), bytes: offset, chunks };
    const directory: PackDirectory = { target: named('index'), pack: named('pack'), bytes: packed, entries };
    const file: LocalFile = { file: named('old'), bytes: 5, index: named('old index'), chunks: local };
    return { index, done, directory, local: [file] };
  });

describe('when a delivery is planned', () => {
  it('has one piece for each missing chunk in order: copied if it is here, else compressed if it is offered, else plain', () => {
    fc.assert(
      fc.property(cases, (facts) => {
        const pieces = planDelivery(facts);
        expect(pieces.map(({ chunk }) => chunk)).toEqual(facts.index.chunks.slice(facts.done));
        const offered = new Set(facts.directory.entries.map(({ chunk }) => chunk));
        for (const [position, piece] of pieces.entries()) {
          const isLocal = facts.local[0]?.chunks.has(piece.chunk.hex) ?? false;
          expect(piece.kind).toBe(isLocal ? 'copy' : 'fetch');
          if (piece.kind === 'fetch')
            expect(piece.source.kind).toBe(offered.has(facts.done + position) ? 'pack' : 'blob');
        }
        const plain = planDelivery({ ...facts, directory: undefined });
        expect(bytesToFetch(pieces)).toBeLessThanOrEqual(bytesToFetch(plain));
      }),
    );
  });

  it('asks for no byte twice, and passes over none that is not part of a small gap', () => {
    fc.assert(
      fc.property(cases, (facts) => {
        const pieces = planDelivery(facts);
        const ends = requestEnds(pieces);
        let position = { digest: '', at: 0, end: 0 };
        for (const piece of pieces) {
          if (piece.kind !== 'fetch') continue;
          const { source, entry } = piece;
          const end = ends.get(piece) ?? NaN;
          expect(end).toBeGreaterThanOrEqual(entry.offset + entry.bytes);
          const continues = position.digest === source.digest && entry.offset + entry.bytes <= position.end;
          if (continues) expect(entry.offset - position.at).toBeLessThanOrEqual(MAX_GAP_BYTES);
          position = { digest: source.digest, at: entry.offset + entry.bytes, end: continues ? position.end : end };
        }
      }),
    );
  });
});

describe('when a base is chosen', () => {
  const index: ChunkIndex = {
    file: named('new'),
    bytes: 300,
    chunks: [1, 2, 3].map((number) => ({
      offset: number * 100,
      bytes: 100,
      head: 0,
      type: 'float32',
      hex: hexOf(number),
    })),
  };
  const file = (name: string, bytes: number, ...hashes: number[]): LocalFile => ({
    file: named(name),
    bytes,
    index: named(`${name} index`),
    chunks: new Map(hashes.map((number) => [hexOf(number), 0])),
  });

  it('is the file with the most in common, else the one of about this size, else none', () => {
    const two = file('two', 9000, 1, 2);
    const similar = file('similar', 301, 1);
    expect(chooseBase(index, [similar, two])).toBe(two);
    expect(chooseBase(index, [file('far', 400), file('near', 299)])?.bytes).toBe(299);
    expect(chooseBase(index, [file('labels', 20), file('huge', 9000)])).toBeUndefined();
  });
});
