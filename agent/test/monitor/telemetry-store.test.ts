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
import type { InferenceRecord } from '../../src/serve/index.js';
import { someDigest } from '../serve/installed-classifier.js';
import { adapted, MODEL, OTHER_RELEASE, RELEASE, served } from './served-samples.js';

const MAX_SAMPLES = 100;
const JOINED = { rows: 1, joined: 1, repeated: 0, conflicting: 0, gone: 0 };
const KEY = { model: MODEL, release: RELEASE.release.digest, afterId: 0 };
const label = (requestId: string, labels: (number | null)[], atMs = 2_000) => ({
  model: MODEL,
  requestId,
  atMs,
  of: 'classes' as const,
  labels,
});

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
    expect(await store.label([label('r1', [1, null]), label('r2', [1]), label('unknown', [1])])).toEqual([
      { rows: 2, joined: 1, repeated: 0, conflicting: 0, gone: 0 },
      { rows: 1, joined: 1, repeated: 0, conflicting: 0, gone: 0 },
      { rows: 0, joined: 0, repeated: 0, conflicting: 0, gone: 1 },
    ]);
    expect(await store.label([label('r1', [1, 0]), label('r1', [2, 2]), label('r2', [1, 1])])).toEqual([
      { rows: 2, joined: 1, repeated: 1, conflicting: 0, gone: 0 },
      { rows: 2, joined: 0, repeated: 0, conflicting: 2, gone: 0 },
      { rows: 1, joined: 0, repeated: 0, conflicting: 0, gone: 0 },
    ]);
    const labelled = await store.labelled(MODEL, 0, 10);
    expect(labelled).toEqual({
      features: Float32Array.of(1, 2, 3),
      labels: Int32Array.of(1, 0, 1),
      predictions: Int32Array.of(1, 1, 1),
      width: 1,
      count: 3,
    });
    const counts = await store.takeCounts(64);
    expect(counts.find(({ release }) => release.version === '1.0.0')?.labelled).toEqual({
      count: 2,
      correct: 1,
      conflicting: 2,
    });
    expect(counts.find(({ release }) => release.version === '2.0.0')?.labelled).toEqual({ count: 1, correct: 1 });
    expect((await store.labelled(MODEL, 0, 2)).features).toEqual(Float32Array.of(2, 3));
    expect((await store.labelled(MODEL, 2_001, 10)).count).toBe(0);
  });

  it('when true values arrive, each row counts once by how much its value was too large', async () => {
    const answer = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1_000, max: 1_000 });
    const truth = fc.option(answer, { freq: 3 });
    let request = 0;
    const law = fc.asyncProperty(
      fc.array(fc.tuple(fc.oneof(answer, fc.constant(NaN)), truth, truth), { minLength: 1, maxLength: 6 }),
      async (rows) => {
        const id = `values-${++request}`;
        const [values, first, second] = [0, 1, 2].map((part) => rows.map((row) => row[part] ?? null));
        const { predictions: _classes, ...record } = served(
          id,
          rows.map(() => [0]),
        );
        await store.record([{ ...record, values: Float64Array.from(values ?? [], (each) => each ?? NaN) }]);
        const outcomes = await store.label(
          [first, second].map((labels = []) => ({ model: MODEL, requestId: id, atMs: 2, of: 'values', labels })),
        );
        const [counts] = await store.takeCounts(1);
        // The first truth of a row counts.
        const known = rows.map(([value, early, late]) => ({ value, truth: early ?? late, early, late }));
        const errors = known.flatMap(({ value, truth: is }) =>
          is === null || Number.isNaN(value) ? [] : [value - is],
        );
        const mean = (of: (error: number) => number) =>
          errors.reduce((sum, error) => sum + of(error), 0) / errors.length;
        expect(counts?.errors).toEqual(
          errors.length === 0
            ? undefined
            : {
                count: errors.length,
                mean: expect.closeTo(
                  mean((error) => error),
                  6,
                ) as number,
                meanAbsolute: expect.closeTo(mean(Math.abs), 6) as number,
                meanSquare: expect.closeTo(
                  mean((error) => error ** 2),
                  3,
                ) as number,
              },
        );
        const both = known.filter(({ early, late }) => early !== null && late !== null);
        expect(outcomes[1]).toMatchObject({
          repeated: both.filter(({ early, late }) => early === late).length,
          conflicting: both.filter(({ early, late }) => early !== late).length,
        });
        expect(counts?.labelled.count).toBe(0);
      },
    );
    await fc.assert(law, { numRuns: 60 });
    expect((await store.labelled(MODEL, 0, 10)).count).toBe(0);
  });

  it('when a request id is used again, the labels are for the newest, also where the one before had more rows', async () => {
    await store.record([served('same', [[1], [2]]), served('same', [[3]])]);
    expect(await store.label([label('same', [0, 0])])).toMatchObject([{ rows: 1, joined: 0 }]);
    expect(await store.label([label('same', [0])])).toMatchObject([{ rows: 1, joined: 1 }]);
    expect((await store.labelled(MODEL, 0, 10)).features).toEqual(Float32Array.of(3));
  });

  it('when labels come late, they join the rows that are still kept, and the rest is told', async () => {
    const rows = Array.from({ length: 10 }, (_, row) => [row]);
    await store.record([served('gone', rows), served('old', rows)]);
    for (let batch = 0; batch < 9; batch++) await store.record([served(String(batch), rows)]);
    // Kept are the newest 95 of 110: five rows of the second request went with the first.
    const outcomes = await store.label([
      label('gone', [0], 86_400_000),
      label(
        'old',
        rows.map(() => 1),
        86_400_000,
      ),
    ]);
    expect(outcomes).toEqual([
      { rows: 0, joined: 0, repeated: 0, conflicting: 0, gone: 1 },
      { rows: 10, joined: 5, repeated: 0, conflicting: 0, gone: 5 },
    ]);
    expect((await store.labelled(MODEL, 86_400_000, 10)).features).toEqual(Float32Array.of(5, 6, 7, 8, 9));
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

  it('when a model answers with what is no number, the request is recorded and counted all the same', async () => {
    const confidences = Float32Array.of(NaN, 0.5);
    await store.record([served('r', [[1], [2]], { predictions: { classes: Int32Array.of(0, 1), confidences } })]);
    expect((await store.window({ ...KEY, size: 2 }))?.count).toBe(2);
    expect(await store.takeCounts(1)).toMatchObject([
      { inferences: 2, confidence: { count: 1, mean: 0.5 }, predictions: { '0': 1, '1': 1 } },
    ]);
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

describe('ground truth in parts', () => {
  it('when it comes in any parts and order, the first label of each row counts, and every label is accounted for', () => {
    const truth = fc.option(fc.integer({ min: 0, max: 2 }), { nil: null });
    fc.assert(
      fc.property(fc.array(fc.array(truth, { minLength: 1, maxLength: 4 }), { maxLength: 8 }), (parts) => {
        const store = openTelemetry({ file: ':memory:', maxSamples: 100, nowMs: () => 0, onRebuilt: () => undefined });
        store.record([served('r', [[0], [1], [2], [3]])]);
        const expected = new Map<number, number>();
        let conflicts = 0;
        for (const part of parts) {
          const [outcome] = store.label([label('r', part)]);
          const given = part.flatMap((each, row) => (each === null ? [] : [[row, each] as const]));
          const known = given.filter(([row]) => expected.has(row));
          const repeated = known.filter(([row, each]) => expected.get(row) === each).length;
          const conflicting = known.length - repeated;
          expect(outcome).toEqual({ rows: 4, joined: given.length - known.length, repeated, conflicting, gone: 0 });
          for (const [row, each] of given) if (!expected.has(row)) expected.set(row, each);
          conflicts += conflicting;
        }
        const kept = store.labelled(MODEL, 0, 100);
        expect(new Map(Array.from(kept.features, (row, index) => [row, kept.labels[index]]))).toEqual(expected);
        const correct = [...expected.values()].filter((each) => each === 1).length;
        expect(store.takeCounts(1)[0]?.labelled).toEqual({
          count: expected.size,
          correct,
          ...(conflicts > 0 && { conflicting: conflicts }),
        });
        store.close();
      }),
      { numRuns: 100 },
    );
  });
});

describe.each(['inline', 'thread'] as const)('inputs in the telemetry store (%s)', (placement) => {
  let directory: string;
  let store: TelemetryStore;
  const HOUR = 3_600_000;
  const broken = { rule: 3, input: 'x', feature: 'a', says: 'at most 1', rows: 2, windows: 0, windowsBelow: 0 };
  const counts = { ...RELEASE, atMs: 5 * HOUR + 1, rows: 10, refusedRequests: 1, violations: [broken] };

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-telemetry-'));
    const options = { file: join(directory, 'telemetry.db'), maxSamples: MAX_SAMPLES };
    const fail = (error: unknown): void => {
      throw error;
    };
    store =
      placement === 'thread'
        ? await openTelemetryThread({ ...options, onIncident: fail })
        : inlineTelemetry(openTelemetry({ ...options, nowMs: Date.now, onRebuilt: fail }));
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  it('when they were held against a contract, are summed up by the hour, and told again when an hour has changed', async () => {
    await store.inputs([
      counts,
      { ...counts, violations: [{ ...broken, windows: 1, windowsBelow: 1, share: 0.25, isBelow: true }] },
    ]);
    await store.inputs([{ ...counts, ...OTHER_RELEASE, atMs: 6 * HOUR, refusedRequests: 0, violations: [] }]);
    const first = { ...RELEASE, hour: 5, rows: 20, refusedRequests: 2 };
    expect(await store.takeInputHours(8)).toEqual([
      { ...first, violations: [{ ...broken, rows: 4, windows: 1, windowsBelow: 1, share: 0.25, isBelow: true }] },
      { ...OTHER_RELEASE, hour: 6, rows: 10, refusedRequests: 0, violations: [] },
    ]);
    expect(await store.takeInputHours(8)).toEqual([]);
    await store.inputs([{ ...counts, violations: [] }]);
    expect(await store.takeInputHours(8)).toMatchObject([
      { ...first, rows: 30, refusedRequests: 3, violations: [{ rows: 4 }] },
    ]);
  });

  it('when there are more hours than a report may have, those come next that waited longest', async () => {
    const change = (hours: number[]) => store.inputs(hours.map((hour) => ({ ...counts, atMs: hour * HOUR })));
    const told = async (limit: number) => (await store.takeInputHours(limit)).map(({ hour }) => hour);
    await change([1, 2, 3]);
    expect(await told(2)).toEqual([1, 2]);
    await change([1, 2]);
    expect(await told(1)).toEqual([3]);
    expect((await told(8)).sort()).toEqual([1, 2]);
  });

  it('when hours and rules pile up, keeps two weeks of hours, and of each the rules that were broken first', async () => {
    const rules = Array.from({ length: 140 }, (_, rule) => ({ ...broken, rule }));
    const hours = Array.from({ length: 340 }, (_, hour) => ({ ...counts, atMs: hour * HOUR, violations: [] }));
    await store.inputs([...hours, { ...counts, atMs: 339 * HOUR, violations: rules }]);
    const kept = await store.takeInputHours(1_000);
    expect(kept.map(({ hour }) => hour)).toEqual(Array.from({ length: 336 }, (_, index) => index + 4));
    expect(kept.at(-1)?.violations.map(({ rule }) => rule)).toEqual(Array.from({ length: 128 }, (_, rule) => rule));
  });
});

describe('the recorder in front of the store', () => {
  it('when a burst comes in, it is stored in order and in few batches', async () => {
    const batches: string[] = [];
    const recorder = createStoreRecorder({
      store: {
        record: (records) => Promise.resolve(void batches.push(`${records.length} records`)),
        compare: () => Promise.resolve(),
        label(labels) {
          batches.push(`${labels.length} labels`);
          return Promise.resolve(labels.map(() => JOINED));
        },
        inputs: (counts) => Promise.resolve(void batches.push(`${counts.length} sums of inputs`)),
      },
      onIncident: (error) => {
        throw error;
      },
    });
    for (let index = 0; index < 5; index++) recorder.record(served(String(index), [[index]]));
    const outcome = recorder.label(label('0', [1]));
    const held = { ...RELEASE, atMs: 1, rows: 1, refusedRequests: 0, violations: [] };
    for (let index = 0; index < 5; index++) recorder.inputs(held);
    await recorder.settled();
    expect(await outcome).toBe(JOINED);
    expect(batches).toEqual(['5 records', '1 labels', '1 sums of inputs']);
  });

  it('when rows wait for a slow store, eight megabytes of them are kept, and the requests of all', async () => {
    const batches: InferenceRecord[][] = [];
    let goOn = (): void => undefined;
    const recorder = createStoreRecorder({
      store: {
        async record(records) {
          batches.push([...records]);
          await new Promise<void>((resolve) => (goOn = resolve));
        },
        compare: () => Promise.resolve(),
        label: () => Promise.resolve([]),
        inputs: () => Promise.resolve(),
      },
      onIncident: (error) => {
        throw error;
      },
    });
    const wide = served('wide', [Array.from({ length: 2 ** 20 }, () => 1)]);
    recorder.record(wide);
    await new Promise((resolve) => setImmediate(resolve));
    for (let index = 0; index < 5; index++) recorder.record(wide);
    goOn();
    await new Promise((resolve) => setImmediate(resolve));
    goOn();
    await recorder.settled();
    const kept = batches.map((records) => records.map(({ features }) => features !== undefined));
    expect(kept).toEqual([[true], [true, true, false, false, false]]);
  });

  it('when the store fails, it says so once, and again only after it had recovered', async () => {
    const incidents: unknown[] = [];
    let isFull = true;
    const recorder = createStoreRecorder({
      store: {
        record: () => (isFull ? Promise.reject(new Error('disk full')) : Promise.resolve()),
        compare: () => Promise.resolve(),
        label: () => Promise.resolve([JOINED]),
        inputs: () => Promise.resolve(),
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
    const late = recorder.label(label('r', [1]));
    await write();
    expect(incidents).toHaveLength(2);
    await expect(late).rejects.toThrow('disk full');
  });

  it('when the disk does not keep up, what is too much is dropped and reported', async () => {
    const incidents: { code: string }[] = [];
    let stored = 0;
    const recorder = createStoreRecorder({
      store: {
        record: (records) => Promise.resolve(void (stored += records.length)),
        compare: () => Promise.resolve(),
        label: () => Promise.resolve([JOINED]),
        inputs: () => Promise.resolve(),
      },
      onIncident: (error) => void incidents.push(error as { code: string }),
    });
    const record = served('r', [[1]]);
    for (let index = 0; index < 20_050; index++) recorder.record(record);
    await expect(recorder.label(label('r', [1]))).rejects.toMatchObject({ code: 'TELEMETRY_OVERLOADED' });
    await recorder.settled();
    expect(stored).toBe(20_000);
    expect(incidents).toMatchObject([{ code: 'TELEMETRY_OVERLOADED' }]);
  });
});
