import { describe, expect, it } from 'vitest';
import { createBatchingRecorder, type Batch } from '../../src/serve/process/batching-recorder.js';
import { MODEL, served } from '../monitor/served-samples.js';

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
    recorder.label({ model: MODEL, requestId: 'c', atMs: 1, labels: [0] });
    expect(batches.map(({ records }) => records.length)).toEqual([2]);
    recorder.close();
    expect(batches[1]).toMatchObject({ records: [{ requestId: 'c' }], labels: [{ requestId: 'c' }] });
    expect(batches[1]?.records[0]?.features?.values).toEqual(Float32Array.of(1));
  });

  it('when the supervisor does not keep up, requests are still counted, without their rows', () => {
    const { batches, recorder } = open(false);
    for (let index = 0; index < 40; index++) recorder.record(served(String(index), [[1]]));
    recorder.close();
    const records = batches.flatMap((batch) => batch.records);
    expect(records).toHaveLength(40);
    expect(records[0]?.features).toBeDefined();
    expect(records[39]?.features).toBeUndefined();
    expect(records[39]?.predictions).toBeDefined();
  });
});
