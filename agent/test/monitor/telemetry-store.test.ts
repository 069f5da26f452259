import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createStoreRecorder,
  inlineTelemetry,
  openTelemetry,
  openTelemetryThread,
  type TelemetryStore,
} from '../../src/monitor/index.js';
import { someDigest } from '../serve/installed-classifier.js';
import { adapted, MODEL, OTHER_RELEASE, RELEASE, served } from './served-samples.js';

const MAX_SAMPLES = 100;
const KEY = { model: MODEL, release: RELEASE.release.digest, afterId: 0 };
const label = (requestId: string, labels: number[], atMs = 2_000) => ({ model: MODEL, requestId, atMs, labels });

describe.each(['inline', 'thread'] as const)('the telemetry store (%s)', (placement) => {
  let directory: string;
  let file: string;
  let store: TelemetryStore;
  let incidents: unknown[];

  const open = async (): Promise<TelemetryStore> => {
    const onIncident = (error: unknown) => void incidents.push(error);
    if (placement === 'thread') return await openTelemetryThread({ file, maxSamples: MAX_SAMPLES, onIncident });
    return inlineTelemetry(openTelemetry({ file, maxSamples: MAX_SAMPLES, nowMs: Date.now, onRebuilt: onIncident }));
  };
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-telemetry-'));
    file = join(directory, 'telemetry.db');
    incidents = [];
    store = await open();
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('when rows were recorded, a window gives them back bit for bit, and survives a restart', async () => {
    await store.record([served('r1', [[0.1, -2], [3, 4]]), served('r2', [[5, Number.NaN]], { atMs: 1_234 })]); // prettier-ignore
    await store.close();
    store = await open();
    const window = await store.window({ ...KEY, size: 3 });
    expect(window).toMatchObject({ width: 2, count: 3, lastAtMs: 1_234 });
    expect(window?.rows).toEqual(Float32Array.of(0.1, -2, 3, 4, 5, Number.NaN));
    expect(await store.window({ ...KEY, size: 4 })).toBeUndefined();
    expect(await store.window({ ...KEY, size: 1, afterId: window?.lastId ?? 0 })).toBeUndefined();
    expect(await store.lastSampleId()).toBe(window?.lastId);
  });

  it('when releases and adaptations take turns, windows do not mix them', async () => {
    const adaptation = someDigest('c');
    await store.record([
      served('r1', [[1]]),
      served('r2', [[2]], OTHER_RELEASE),
      served('r3', [[3]], adapted(adaptation)),
      served('r4', [[4]]),
    ]);
    expect((await store.window({ ...KEY, size: 2 }))?.rows).toEqual(Float32Array.of(1, 4));
    expect((await store.window({ ...KEY, adaptation, size: 1 }))?.rows).toEqual(Float32Array.of(3));
  });

  it('when labels arrive, they join the rows of their request once, and count as right or wrong', async () => {
    await store.record([served('r1', [[1], [2]]), served('r2', [[3]], OTHER_RELEASE)]);
    await store.label([label('r1', [1, 0]), label('r2', [1]), label('unknown', [1])]);
    await store.label([label('r1', [2, 2])]);
    const labelled = await store.labelled(MODEL, 0, 10);
    expect(labelled).toEqual({
      features: Float32Array.of(1, 2, 3),
      labels: Int32Array.of(1, 0, 1),
      predictions: Int32Array.of(1, 1, 1),
      width: 1,
      count: 3,
    });
    const counts = await store.takeCounts(64);
    expect(counts.find(({ release }) => release.version === '1.0.0')?.labelled).toEqual({ count: 2, correct: 1 });
    expect(counts.find(({ release }) => release.version === '2.0.0')?.labelled).toEqual({ count: 1, correct: 1 });
    expect((await store.labelled(MODEL, 0, 2)).features).toEqual(Float32Array.of(2, 3));
    expect((await store.labelled(MODEL, 2_001, 10)).count).toBe(0);
  });

  it('when a request id is used again, the label goes to the newest', async () => {
    await store.record([served('same', [[1]]), served('same', [[2]])]);
    await store.label([label('same', [0])]);
    expect((await store.labelled(MODEL, 0, 10)).features).toEqual(Float32Array.of(2));
  });

  it('when counts are taken, they cover what came since, also over a restart', async () => {
    await store.record([served('r1', [[1], [2]], { latencyUs: 100 }), served('r2', [[3]], { latencyUs: 900 })]);
    await store.close();
    store = await open();
    await store.record([served('r3', [[3]], { failed: true })]);
    const [counts] = await store.takeCounts(64);
    expect(counts).toMatchObject({
      ...RELEASE,
      requests: 3,
      failures: 1,
      inferences: 3,
      labelled: { count: 0, correct: 0 },
      confidence: { count: 3, mean: 0.75 },
      predictions: { '1': 3 },
    });
    expect(counts?.latencyUs?.max).toBe(900);
    expect(counts?.latencyUs?.p50).toBeGreaterThanOrEqual(100);
    expect(counts?.latencyUs?.p50).toBeLessThanOrEqual(110);
    expect(await store.takeCounts(64)).toEqual([]);
  });

  it('when more comes than the bound, the oldest samples go, and ids go on', async () => {
    for (let batch = 0; batch < 12; batch++) {
      await store.record(Array.from({ length: 10 }, (_, index) => served(`${batch}-${index}`, [[batch]])));
    }
    expect(await store.window({ ...KEY, size: MAX_SAMPLES + 1 })).toBeUndefined();
    const kept = await store.window({ ...KEY, size: 90 });
    expect(kept?.rows[0]).toBeGreaterThan(0);
    expect((await store.window({ ...KEY, size: 10, afterId: 110 }))?.lastId).toBe(120);
    expect((await store.takeCounts(1))[0]?.requests).toBe(120);
  });

  it('when the file is damaged, it is kept aside, rebuilt and reported', async () => {
    await store.record([served('r1', [[1]])]);
    await store.close();
    writeFileSync(file, Buffer.alloc(20_000, 'no database '));
    store = await open();
    expect(incidents).toMatchObject([{ code: 'DATABASE_REBUILT' }]);
    expect(readdirSync(directory).filter((name) => name.includes('.corrupt-'))).not.toEqual([]);
    await store.record([served('r2', [[1]])]);
    expect(await store.lastSampleId()).toBe(1);
  });

  it('when the file cannot be opened, it fails with a coded error', async () => {
    await store.close();
    const good = file;
    file = directory;
    await expect(open().finally(() => (file = good))).rejects.toMatchObject({
      code: expect.stringMatching(/^DATABASE_/) as unknown,
    });
    store = await open();
  });
});

describe('the bound', () => {
  it('when any number of batches of any size is recorded, no model keeps more rows than allowed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 60 }),
        (sizes, maxSamples) => {
          const store = openTelemetry({ file: ':memory:', maxSamples, nowMs: () => 0, onRebuilt: () => undefined });
          for (const size of sizes)
            store.record([
              served(
                'r',
                Array.from({ length: size }, () => [size]),
              ),
            ]);
          expect(store.window({ ...KEY, size: maxSamples + 1 })).toBeUndefined();
          expect(store.lastSampleId()).toBe(sizes.reduce((sum, size) => sum + size, 0));
          store.close();
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('the recorder in front of the store', () => {
  it('when a burst comes in, it is stored in order and in few batches', async () => {
    const batches: string[] = [];
    const recorder = createStoreRecorder({
      store: {
        record: (records) => Promise.resolve(void batches.push(`${records.length} records`)),
        label: (labels) => Promise.resolve(void batches.push(`${labels.length} labels`)),
      },
      onIncident: (error) => {
        throw error;
      },
    });
    for (let index = 0; index < 5; index++) recorder.record(served(String(index), [[index]]));
    recorder.label(label('0', [1]));
    await recorder.settled();
    expect(batches).toEqual(['5 records', '1 labels']);
  });

  it('when the store fails, it says so once, and again only after it had recovered', async () => {
    const incidents: unknown[] = [];
    let isFull = true;
    const recorder = createStoreRecorder({
      store: {
        record: () => (isFull ? Promise.reject(new Error('disk full')) : Promise.resolve()),
        label: () => Promise.resolve(),
      },
      onIncident: (error) => void incidents.push(error),
    });
    const write = async () => {
      recorder.record(served('r', [[1]]));
      await recorder.settled();
    };
    await write();
    await write();
    expect(incidents).toHaveLength(1);
    isFull = false;
    await write();
    isFull = true;
    await write();
    expect(incidents).toHaveLength(2);
  });

  it('when the disk does not keep up, what is too much is dropped and reported', async () => {
    const incidents: { code: string }[] = [];
    let stored = 0;
    const recorder = createStoreRecorder({
      store: { record: (records) => Promise.resolve(void (stored += records.length)), label: () => Promise.resolve() },
      onIncident: (error) => void incidents.push(error as { code: string }),
    });
    const record = served('r', [[1]]);
    for (let index = 0; index < 20_050; index++) recorder.record(record);
    await recorder.settled();
    expect(stored).toBe(20_000);
    expect(incidents).toMatchObject([{ code: 'TELEMETRY_OVERLOADED' }]);
  });
});
