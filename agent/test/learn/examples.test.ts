import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import {
  ADAPTATION_FORMAT,
  digestExamples,
  mixReplay,
  parseAdaptation,
  splitExamples,
  type Adaptation,
  type Examples,
} from '../../src/learn/index.js';
import { clouds } from './synthetic.js';

const coded = (code: string) => expect.objectContaining({ code }) as Error;
/** Rows that name themselves: label = row, feature = row. */
const numbered = (count: number, from = 0): Examples => ({
  features: Float32Array.from({ length: count }, (_, row) => from + row),
  labels: Int32Array.from({ length: count }, (_, row) => from + row),
  count,
  width: 1,
});

describe('splitExamples', () => {
  it('when examples are split, every row is in exactly one part and keeps its label', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 80 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer(),
        (count, share, seed) => {
          const parts = splitExamples(numbered(count), share, seed);
          expect(parts[1].count).toBe(Math.round(count * share));
          const labels = parts.flatMap((part) => Array.from(part.labels));
          expect(labels.sort((a, b) => a - b)).toEqual(Array.from(numbered(count).labels));
          for (const part of parts) expect(Array.from(part.features)).toEqual(Array.from(part.labels));
        },
      ),
    );
  });
});

describe('mixReplay', () => {
  it('when half is to be replayed, old and new are one to one, and old rows repeat only when there are too few', () => {
    const mixed = mixReplay(numbered(10), numbered(4, 100), 0.5, 1);
    expect(mixed.count).toBe(20);
    const old = Array.from(mixed.labels).filter((label) => label >= 100);
    expect(old).toHaveLength(10);
    for (const label of [100, 101, 102, 103]) expect([2, 3]).toContain(old.filter((found) => found === label).length);
    expect(Array.from(mixed.features)).toEqual(Array.from(mixed.labels));
  });

  it('when nothing is to be replayed, the fresh examples stay as they are', () => {
    const fresh = numbered(5);
    expect(mixReplay(fresh, undefined, 0, 1)).toBe(fresh);
  });

  it('when replay is asked for and impossible, it refuses', () => {
    expect(() => mixReplay(numbered(5), undefined, 0.5, 1)).toThrow(coded('LEARN_EXAMPLES_INVALID'));
    expect(() => mixReplay(numbered(5), clouds({ count: 5 }), 0.5, 1)).toThrow(coded('LEARN_EXAMPLES_INVALID'));
    expect(() => mixReplay(numbered(5), numbered(5), 1, 1)).toThrow(coded('LEARN_RECIPE_INVALID'));
  });
});

describe('an adaptation document', () => {
  const digest = digestOf(Buffer.from('x'));
  const adaptation: Adaptation = {
    format: ADAPTATION_FORMAT,
    base: digest,
    baseModel: digest,
    model: digest,
    modelBytes: 100,
    data: [{ role: 'train', digest: digestExamples(numbered(3)), rows: 3 }],
    recipe: {
      optimizer: 'adam',
      learningRate: 0.01,
      momentum: 0,
      weightDecay: 0,
      batchSize: 16,
      epochs: 3,
      replayShare: 0.5,
      trainable: [],
      adaptation: 'auto',
      bounds: { minLabelled: 10, holdoutShare: 0.3, minImprovement: 0.02, maxForgetting: 0.05, alpha: 0.05 },
    },
    seed: 1,
    steps: 30,
    accuracy: { holdout: { before: 0.8, after: 0.9, count: 50 }, anchor: { before: 0.9, after: 0.89, count: 100 } },
    createdAt: '2026-01-02T03:04:05Z',
  };

  it('when it is written as JSON and read, it is the same', () => {
    expect(parseAdaptation(JSON.parse(JSON.stringify(adaptation)))).toEqual(adaptation);
  });

  it('when it has another format, an unknown key or a bad digest, it is refused', () => {
    for (const bad of [{ format: 'drover.adaptation/2' }, { surprise: 1 }, { model: 'sha256:short' }]) {
      expect(() => parseAdaptation({ ...adaptation, ...bad })).toThrow(coded('LEARN_ADAPTATION_INVALID'));
    }
  });

  it('when features, labels or width differ, examples have other digests', () => {
    const base = clouds({ count: 4, width: 2 });
    const digests = [
      base,
      { ...base, labels: base.labels.with(0, 9) },
      { ...base, features: base.features.with(0, 9) },
      { ...base, width: 1, count: 8 },
    ].map(digestExamples);
    expect(new Set(digests).size).toBe(4);
    expect(digestExamples(clouds({ count: 4, width: 2 }))).toBe(digests[0]);
  });
});
