import { describe, expect, it } from 'vitest';
import { createBatchingRecorder, type Batch } from '../../src/serve/process/batching-recorder.js';
import { MODEL, OTHER_RELEASE, RELEASE, served } from '../monitor/served-samples.js';

describe('the batching recorder', () => {
  const open = (isTaken: boolean) => {
    const batches: Batch[] = [];
    const deliver = (batch: Batch, delivered: () => void) => {
      batches.push(batch);
      if (isTaken) delivered();
    };
    // The pause is longer than any test: only counts and `close` flush here.
    return { batches, recorder: createBatchingRecorder({ deliver, flushMs: 3_600_000, maxRecords: 2 }) };
  };

  it('when a batch is full, it is delivered; the rest, labels behind records, when it closes', () => {
    const { batches, recorder } = open(true);
    for (const id of ['a', 'b', 'c']) recorder.record(served(id, [[1]]));
    void recorder.label({ model: MODEL, requestId: 'c', atMs: 1, of: 'classes', labels: [0] });
    expect(batches.map(({ records }) => records.length)).toEqual([2]);
    recorder.close();
    expect(batches[1]).toMatchObject({ records: [{ requestId: 'c' }], labels: [{ label: { requestId: 'c' } }] });
    expect(batches[1]?.records[0]?.features?.values).toEqual(Float32Array.of(1));
  });

  it('when somebody waits for what becomes of labels, they are delivered in this turn of the loop, and each gets its answer', async () => {
    const { batches, recorder } = open(true);
    recorder.record(served('a', [[1]]));
    const label = (requestId: string) =>
      recorder.label({ model: MODEL, requestId, atMs: 1, of: 'classes', labels: [0] });
    const [first, second] = [label('a'), label('b')];
    await new Promise((resolve) => setImmediate(resolve));
    expect(batches).toMatchObject([{ records: [{ requestId: 'a' }], labels: [{}, {}] }]);
    const outcome = { rows: 1, joined: 1, repeated: 0, conflicting: 0, gone: 0 };
    recorder.answer(batches[0]?.labels[1]?.call ?? 0, new Error('the disk is full'));
    recorder.answer(batches[0]?.labels[0]?.call ?? 0, outcome);
    await expect(first).resolves.toEqual(outcome);
    await expect(second).rejects.toThrow('the disk is full');
    recorder.close();
  });

  it('when inputs were held against contracts, sums them up by release and hour', () => {
    const { batches, recorder } = open(true);
    const broken = {
      rule: 1,
      input: 'x',
      feature: 'a',
      says: 'at most 1',
      rows: 2,
      windows: 1,
      windowsBelow: 1,
      share: 0.5,
    };
    const counts = { ...RELEASE, atMs: 1, rows: 3, refusedRequests: 1, violations: [broken] };
    recorder.inputs(counts);
    recorder.inputs({ ...counts, violations: [{ ...broken, rule: 0, windows: 0, windowsBelow: 0 }] });
    recorder.inputs({ ...counts, rows: 5, violations: [{ ...broken, windowsBelow: 0, share: 0.9, isBelow: false }] });
    recorder.inputs({ ...counts, rows: 7, refusedRequests: 0, violations: [] });
    recorder.inputs({ ...counts, atMs: 3_600_000 });
    recorder.inputs({ ...OTHER_RELEASE, atMs: 1, rows: 1, refusedRequests: 0, violations: [] });
    recorder.close();
    expect(batches).toHaveLength(1);
    expect(batches[0]?.inputs).toMatchObject([
      {
        ...RELEASE,
        rows: 18,
        refusedRequests: 3,
        violations: [
          { rule: 1, rows: 4, windows: 2, windowsBelow: 1, share: 0.9, isBelow: false },
          { rule: 0, rows: 2, windows: 0, windowsBelow: 0, share: 0.5 },
        ],
      },
      { ...RELEASE, rows: 3, atMs: 3_600_000 },
      { ...OTHER_RELEASE, rows: 1 },
    ]);
  });

  it('when the supervisor does not keep up, requests are still counted, without their rows', () => {
    const { batches, recorder } = open(false);
    for (let index = 0; index < 2_100; index++) recorder.record(served(String(index), [[1]]));
    recorder.close();
    const records = batches.flatMap((batch) => batch.records);
    expect(records).toHaveLength(2_100);
    expect(records[2_047]?.features).toBeDefined();
    expect(records[2_099]?.features).toBeUndefined();
    expect(records[2_099]?.predictions).toBeDefined();
  });

  it('when the supervisor does not keep up with wide rows, a few megabytes of them wait', () => {
    const { batches, recorder } = open(false);
    const rows = [Array.from({ length: 75_000 }, () => 1)];
    for (let index = 0; index < 40; index++) recorder.record(served(String(index), rows));
    recorder.close();
    const kept = batches.flatMap((batch) => batch.records).filter(({ features }) => features).length;
    // 300 KB each, two in a batch: as many batches as are 8 MiB, the one that passes that included.
    expect(kept).toBe(28);
  });

  it('when the supervisor takes nothing for long, it says so until it does', () => {
    const taken: (() => void)[] = [];
    const deliver = (_: Batch, delivered: () => void) => void taken.push(delivered);
    const recorder = createBatchingRecorder({ deliver, flushMs: 3_600_000 });
    for (let index = 0; index < 20_032; index++) recorder.record(served('r', []));
    expect(recorder.isCongested()).toBe(true);
    taken.pop()?.();
    expect(recorder.isCongested()).toBe(false);
    recorder.close();
  });

  it('when rows are wide, a batch has a megabyte of them and no more than one request beyond', () => {
    const batches: Batch[] = [];
    const deliver = (batch: Batch, delivered: () => void) => {
      batches.push(batch);
      delivered();
    };
    const recorder = createBatchingRecorder({ deliver, flushMs: 3_600_000 });
    const rows = [Array.from({ length: 75_000 }, () => 1)];
    for (let index = 0; index < 8; index++) recorder.record(served(String(index), rows));
    recorder.close();
    expect(batches.map(({ records }) => records.length)).toEqual([4, 4]);
  });
});
