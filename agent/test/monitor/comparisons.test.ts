import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelName, Version } from '@drover/shared/ids';
import { ComparisonCounts } from '@drover/shared/protocol';
import { openTelemetry, type SynchronousTelemetry } from '../../src/monitor/index.js';
import type { Comparison } from '../../src/serve/index.js';
import { someDigest } from '../serve/installed-classifier.js';

const model = ModelName('classifier');
const release = (version: string, digit: string) => ({ version: Version(version), digest: someDigest(digit) });
const [active, candidate] = [release('1.0.0', 'a'), release('1.1.0', 'b')];
const comparison = (value: number, change: Partial<Comparison> = {}): Comparison => ({
  active: { model, release: active },
  candidate,
  mode: 'shadow',
  outcome: 'compared',
  activeLatencyUs: 100,
  candidateLatencyUs: 300,
  agreement: { measure: 'same-class', value, compared: 4, beyondTolerance: 1, largestDifference: 0.5, details: {} },
  classes: { active: Int32Array.of(0, 0, 1, 1), candidate: Int32Array.of(0, 1, 1, 1) },
  ...change,
});

let directory: string;
let store: SynchronousTelemetry;
const open = () =>
  openTelemetry({
    file: join(directory, 'telemetry.db'),
    maxSamples: 100,
    nowMs: () => 0,
    onRebuilt: (error) => {
      throw error;
    },
  });
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drover-comparisons-'));
  store = open();
});
afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

describe('when releases were compared', () => {
  it('counts by pair of releases until it is asked, over restarts too', () => {
    store.compare([comparison(1), comparison(0.5)]);
    store.close();
    store = open();
    const { agreement: _agreement, classes: _classes, ...dropped } = comparison(0, { outcome: 'dropped' });
    store.compare([comparison(0.25), dropped]);
    const [counts, ...others] = store.takeComparisons(64);
    expect(others).toEqual([]);
    expect(counts).toMatchObject({
      model,
      active: { release: active },
      candidate,
      mode: 'shadow',
      outcomes: { compared: 3, answered: 0, left: 0, failed: 0, dropped: 1 },
      agreement: {
        measure: 'same-class',
        compared: 12,
        lowest: 0.25,
        beyondTolerance: 3,
        largestDifference: 0.5,
        tenths: [0, 0, 1, 0, 0, 1, 0, 0, 0, 1],
      },
      latencies: { active: { count: 4, meanUs: 100 }, candidate: { count: 4, meanUs: 300 } },
    });
    expect(counts?.agreement?.mean).toBeCloseTo(1.75 / 3);
    expect(counts?.classes).toEqual({ active: { 0: 6, 1: 6 }, candidate: { 0: 3, 1: 9 } });
    expect(Value.Check(ComparisonCounts, counts)).toBe(true);
    expect(store.takeComparisons(64)).toEqual([]);
  });

  it('counts the buckets of values on either side', () => {
    const { classes: _classes, ...others } = comparison(1);
    const values = { active: Int16Array.of(-3, 0, 7), candidate: Int16Array.of(7, 7) };
    store.compare([
      { ...others, values },
      { ...others, values },
    ]);
    const [counts] = store.takeComparisons(64);
    expect(counts?.values).toEqual({ active: { [-3]: 2, 0: 2, 7: 2 }, candidate: { 7: 4 } });
    expect(Value.Check(ComparisonCounts, counts)).toBe(true);
  });

  it('keeps pairs and ways of trying apart, and leaves for later what is beyond the limit', () => {
    const other = release('1.2.0', 'c');
    const adapted = { model, release: active, adaptation: someDigest('d') };
    store.compare([
      comparison(1),
      comparison(1, { candidate: other }),
      comparison(1, { active: adapted }),
      { active: { model, release: active }, candidate, mode: 'split', outcome: 'answered', candidateLatencyUs: 5 },
    ]);
    const taken = [...store.takeComparisons(3), ...store.takeComparisons(3)];
    expect(taken).toHaveLength(4);
    expect(taken.filter(({ mode }) => mode === 'split')).toMatchObject([{ outcomes: { answered: 1 } }]);
    expect(taken.some((each) => each.active.adaptation === adapted.adaptation)).toBe(true);
  });

  it('says what JSON can hold where a difference is infinite', () => {
    const agreement = { measure: 'within-tolerance' as const, value: 0, compared: 1, beyondTolerance: 1, details: {} };
    store.compare([comparison(0, { agreement: { ...agreement, largestDifference: Infinity } })]);
    const [counts] = JSON.parse(JSON.stringify(store.takeComparisons(1))) as unknown[];
    expect(Value.Check(ComparisonCounts, counts)).toBe(true);
  });
});
