import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/host/clock.js';
import { InlineServing, type ModelSession, type TensorMap } from '../../src/serve/inline/index.js';
import type { InstalledModel } from '../../src/update/ports.js';
import { CLASSES, FEATURES, installClassifier } from './installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from './memory-recorder.js';

const signal = new AbortController().signal;
const input = (rows: number, value = 0.5): TensorMap => ({
  features: { datatype: 'FP32', shape: [rows, FEATURES], data: new Float32Array(rows * FEATURES).fill(value) },
});

describe('inline serving', () => {
  let directory: string;
  let recorder: MemoryRecorder;
  let serving: InlineServing;
  let first: InstalledModel;
  let second: InstalledModel;
  const incidents: unknown[] = [];
  const options = () => ({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: systemClock,
    recorder,
    onIncident: (error: unknown) => void incidents.push(error),
  });

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'drover-inline-'));
    recorder = memoryRecorder();
    incidents.length = 0;
    serving = new InlineServing(options());
    first = await installClassifier({ directory: join(directory, '1'), seed: 1 });
    second = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
  });
  afterEach(async () => {
    await serving.close();
    rmSync(directory, { recursive: true });
    expect(incidents).toEqual([]);
  });

  it('when a model is activated, it answers, counts and records what was asked', async () => {
    const running = await serving.activate(first, signal);
    expect(running).toMatchObject({ release: first.release, loaded: first.loaded, provider: { actual: 'cpu' } });
    const { outputs } = await serving.infer({ model: first.model, requestId: 'r1', inputs: input(2) });
    expect(outputs['probabilities']?.shape).toEqual([2, CLASSES]);
    const [record] = recorder.records;
    expect(record).toMatchObject({ requestId: 'r1', failed: false, inferences: 2, release: first.release });
    expect(record?.features).toEqual({ values: new Float32Array(2 * FEATURES).fill(0.5), count: 2, width: FEATURES });
    const scores = [...(outputs['probabilities']?.data ?? [])].slice(0, CLASSES) as number[];
    expect(record?.predictions?.classes[0]).toBe(scores.indexOf(Math.max(...scores)));
    expect(record?.predictions?.confidences[0]).toBeCloseTo(Math.max(...scores), 5);
    expect(serving.health(first.model)).toMatchObject({ requests: 1, failures: 0, crashes: 0 });
  });

  it('when a release is replaced under load, every request is answered by one of the two', async () => {
    await serving.activate(first, signal);
    const versions: Promise<string>[] = [];
    const ask = async (index: number) =>
      (await serving.infer({ model: first.model, requestId: String(index), inputs: input(1) })).version;
    for (let index = 0; index < 50; index++) versions.push(ask(index));
    const swapped = serving.activate(second, signal);
    for (let index = 50; index < 100; index++) versions.push(ask(index));
    await swapped;
    versions.push(ask(100));
    const answered = await Promise.all(versions);
    expect(answered).toHaveLength(101);
    expect(answered.at(-1)).toBe('2.0.0');
    expect(serving.health(first.model).requests).toBe(1);
  });

  it('when the old release still runs a request, its session is closed only afterwards', async () => {
    const events: string[] = [];
    let finish: () => void = () => undefined;
    const slow: ModelSession = {
      run: () =>
        new Promise((resolve) => {
          finish = () => resolve({});
        }),
      close: () => Promise.resolve(void events.push('closed')),
    };
    const custom = new InlineServing({
      ...options(),
      open: () => Promise.resolve({ session: slow, provider: { requested: ['cpu'], actual: 'cpu' } }),
    });
    await custom.activate(first, signal);
    const answer = custom.infer({ model: first.model, requestId: 'slow', inputs: input(1) });
    await custom.activate(second, signal);
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual([]);
    finish();
    await answer;
    await custom.close();
    expect(events).toEqual(['closed', 'closed']);
  });

  describe('when a candidate is on trial', () => {
    /** Counts what is opened and closed, by version. */
    const counted = () => {
      const events: string[] = [];
      const custom = new InlineServing({
        ...options(),
        open: ({ release }) => {
          events.push(`open ${release.version}`);
          const close = () => Promise.resolve(void events.push(`close ${release.version}`));
          const session: ModelSession = { run: () => Promise.resolve({}), close };
          return Promise.resolve({ session, provider: { requested: ['cpu'], actual: 'cpu' } });
        },
      });
      return { custom, events };
    };
    const settled = () => new Promise((resolve) => setImmediate(resolve));

    it('keeps what it replaced, so that the way back opens nothing, and counts anew', async () => {
      const { custom, events } = counted();
      await custom.activate(first, signal);
      await custom.infer({ model: first.model, requestId: '1', inputs: input(1) });
      await custom.activate(second, signal, 'keep');
      await settled();
      expect(events).toEqual(['open 1.0.0', 'open 2.0.0']);
      await expect(custom.activate(first, signal)).resolves.toMatchObject({ release: first.release });
      await settled();
      expect(events).toEqual(['open 1.0.0', 'open 2.0.0', 'close 2.0.0']);
      expect(custom.health(first.model).requests).toBe(0);
      await custom.close();
      expect(events.at(-1)).toBe('close 1.0.0');
    });

    it('closes what it kept when the candidate has proven itself, or another one is activated', async () => {
      const { custom, events } = counted();
      await custom.activate(first, signal);
      await custom.activate(second, signal, 'keep');
      await custom.dropKept(first.model);
      expect(events).toEqual(['open 1.0.0', 'open 2.0.0', 'close 1.0.0']);
      await custom.activate(first, signal, 'keep');
      await custom.activate({ ...second, loaded: first.loaded }, signal);
      await custom.close();
      expect(events.filter((event) => event.startsWith('close'))).toHaveLength(4);
    });

    it('keeps nothing where the candidate could need the memory', async () => {
      const { custom, events } = counted();
      const contract = { hardwareClass: '*', maxLatencyMs: 1_000, maxMemoryMiB: 2 ** 30 };
      const huge = {
        ...second,
        manifest: { ...second.manifest, contract: { ...second.manifest.contract, perHardwareClass: [contract] } },
      };
      await custom.activate(first, signal);
      await custom.activate(huge, signal, 'keep');
      await settled();
      expect(events).toEqual(['open 1.0.0', 'open 2.0.0', 'close 1.0.0']);
      await custom.close();
    });
  });

  it('when a candidate cannot be loaded, what served before goes on', async () => {
    await serving.activate(first, signal);
    await expect(serving.activate({ ...second, modelFile: join(directory, 'nothing') }, signal)).rejects.toMatchObject({
      code: 'MODEL_UNLOADABLE',
    });
    expect(serving.running(first.model)?.release.version).toBe('1.0.0');
  });

  it('when it was told to stop before, it does not activate', async () => {
    await expect(serving.activate(first, AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    expect(serving.running(first.model)).toBeUndefined();
  });

  it.each([
    ['has the wrong width', { features: { datatype: 'FP32', shape: [1, 3], data: new Float32Array(3) } }],
    ['has the wrong datatype', { features: { datatype: 'FP64', shape: [1, 4], data: new Float64Array(4) } }],
    ['has another name', { other: { datatype: 'FP32', shape: [1, 4], data: new Float32Array(4) } }],
    ['is missing', {}],
    ['holds too little', { features: { datatype: 'FP32', shape: [2, 4], data: new Float32Array(4) } }],
  ] satisfies [string, TensorMap][])(
    'when the input %s, it is refused and does not count against the model',
    async (_, inputs) => {
      await serving.activate(first, signal);
      await expect(serving.infer({ model: first.model, requestId: 'x', inputs })).rejects.toMatchObject({
        code: 'REQUEST_INVALID',
      });
      expect(serving.health(first.model)).toEqual({ requests: 0, failures: 0, crashes: 0 });
    },
  );

  it('when labels come, it hands them on, and refuses classes that do not exist', async () => {
    await serving.activate(first, signal);
    const { labels = [] } = first.manifest.task;
    await serving.feedback(first.model, 'r1', [0, labels[2] ?? '', null]);
    expect(recorder.labels).toMatchObject([
      { model: first.model, requestId: 'r1', of: 'classes', labels: [0, 2, null] },
    ]);
    for (const wrong of [[3], [-1], ['none of its classes'], [null, null]]) {
      await expect(serving.feedback(first.model, 'r1', wrong)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    }
    await expect(serving.feedback('other', 'r1', [0])).rejects.toMatchObject({ code: 'MODEL_NOT_SERVED' });
  });

  it.each([
    [['logits'], [0.5, -3, null], { of: 'values', labels: [0.5, -3, null] }],
    [['logits'], ['a', 1], '"a" is no number'],
    [['logits'], [null], 'no row has a label'],
    [['logits', 'probabilities'], [0.5], 'gives one class or one value for each row'],
  ] as const)(
    'when a regression gives %j, and true values %j come, it hands them on, or says why not',
    async (outputs, given, expected) => {
      const task = { type: 'regression' as const, regression: { outputs: [...outputs], unit: 'bar' } };
      await serving.activate({ ...first, manifest: { ...first.manifest, task } }, signal);
      const sent = serving.feedback(first.model, 'r1', [...given]);
      if (typeof expected === 'string') await expect(sent).rejects.toThrow(expected);
      else await sent;
      expect(recorder.labels).toMatchObject(typeof expected === 'string' ? [] : [expected]);
    },
  );

  it('when labels hold for no row of the request, it says why', async () => {
    await serving.activate(first, signal);
    const outcome = { rows: 2, joined: 0, repeated: 0, conflicting: 0, gone: 0 };
    recorder.outcome = outcome;
    await expect(serving.feedback(first.model, 'r1', [0, 1, 2])).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    recorder.outcome = { ...outcome, conflicting: 1, gone: 1 };
    await expect(serving.feedback(first.model, 'r1', [0, 1])).rejects.toMatchObject({ code: 'FEEDBACK_CONFLICTS' });
    recorder.outcome = { ...outcome, rows: 0, gone: 2 };
    await expect(serving.feedback(first.model, 'r1', [0, 1])).rejects.toMatchObject({ code: 'FEEDBACK_SAMPLE_GONE' });
    recorder.outcome = { ...outcome, repeated: 1, conflicting: 1 };
    await expect(serving.feedback(first.model, 'r1', [0, 1])).resolves.toEqual(recorder.outcome);
  });

  it('when the self-test of a candidate fails, nothing that serves is touched', async () => {
    await serving.activate(first, signal);
    const contract = {
      perHardwareClass: [{ hardwareClass: 'generic', maxLatencyMs: 1e-9, maxMemoryMiB: 1 }],
      parity: { absolute: 1, relative: 1 },
    };
    const candidate = { ...second, manifest: { ...second.manifest, contract } };
    await expect(serving.selfTest(candidate, signal)).rejects.toMatchObject({ code: 'SELF_TEST_FAILED' });
    await expect(serving.selfTest(second, signal)).resolves.toMatchObject({ provider: { actual: 'cpu' } });
    expect(serving.running(first.model)?.release.version).toBe('1.0.0');
  });
});
