import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import { ServeError } from '../../../src/serve/errors.js';
import { InlineServing, type InlineServingOptions, type TensorMap } from '../../../src/serve/inline/index.js';
import type { ComparingSession } from '../../../src/serve/trials/compared.js';
import type { InstalledModel, Trial } from '../../../src/update/ports.js';
import { FEATURES, installClassifier } from '../installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from '../memory-recorder.js';

const { signal } = new AbortController();
const inputOf = (values: readonly number[]): TensorMap => ({
  features: { datatype: 'FP32', shape: [values.length / FEATURES, FEATURES], data: Float32Array.from(values) },
});

let directory: string;
let recorder: MemoryRecorder;
let first: InstalledModel;
let second: InstalledModel;
const opened: InlineServing[] = [];

const open = async (change: Partial<InlineServingOptions> = {}): Promise<InlineServing> => {
  const serving = new InlineServing({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: systemClock,
    recorder,
    onIncident: (error) => {
      throw error;
    },
    ...change,
  });
  opened.push(serving);
  await serving.activate(first, signal);
  return serving;
};
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drover-shadow-'));
  recorder = memoryRecorder();
  first = await installClassifier({ directory: join(directory, '1'), seed: 1 });
  second = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
});
afterEach(async () => {
  for (const serving of opened.splice(0)) await serving.close();
  rmSync(directory, { recursive: true });
});

const trialOf = (share: number, candidate = second): Trial => ({
  candidate,
  terms: { mode: 'shadow', share, until: Date.UTC(2100, 0, 1) },
});
const ask = (serving: InlineServing, values: readonly number[] = [1, 2, 3, 4]) =>
  serving.infer({ model: first.model, requestId: 'r', inputs: inputOf(values) });
const foreign = () => ({
  model: first.model,
  candidate: second.release.digest,
  inputs: inputOf([1, 2, 3, 4]),
  answered: {},
});
const compared = async (count: number): Promise<void> => {
  while (recorder.comparisons.length < count) await new Promise((resolve) => setImmediate(resolve));
};

/** A candidate whose runs end when the test says so. */
function heldSession() {
  const waiting: (() => void)[] = [];
  const session: ComparingSession = {
    provider: { requested: ['cpu'], actual: 'cpu' },
    compare: () =>
      new Promise((_resolve, reject) => {
        waiting.push(() => reject(new ServeError('MODEL_RUN_FAILED', 'It failed.', { remedy: 'None.' })));
      }),
    close() {
      for (const end of waiting.splice(0)) end();
      return Promise.resolve();
    },
  };
  return { session, waiting };
}

describe('when a release runs in the shadow of another', () => {
  it('leaves every answer as it is, byte by byte', async () => {
    const [plain, shadowed] = [await open(), await open()];
    await shadowed.startTrial(trialOf(0.5), signal);
    const row = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), {
      minLength: FEATURES,
      maxLength: FEATURES,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 3 }), async (rows) => {
        const values = rows.flat();
        expect(await ask(shadowed, values)).toEqual(await ask(plain, values));
      }),
      { numRuns: 50 },
    );
    expect(recorder.records.every(({ release }) => release.version === '1.0.0')).toBe(true);
  });

  it('compares it with what was answered, by the measure of the task', async () => {
    const serving = await open();
    const running = await serving.startTrial(trialOf(1), signal);
    expect(running).toMatchObject({ loaded: second.loaded, trial: { mode: 'shadow' } });
    const values = Array.from({ length: 8 * FEATURES }, (_, index) => Math.sin(index) * 3);
    const { outputs } = await ask(serving, values);
    await compared(1);
    const [comparison] = recorder.comparisons;
    expect(comparison).toMatchObject({
      mode: 'shadow',
      outcome: 'compared',
      active: { model: first.model, release: first.release },
      candidate: second.release,
      agreement: { measure: 'same-class', compared: 8 },
    });
    await serving.endTrial(first.model);
    await serving.activate(second, signal);
    const { outputs: wouldHave } = await ask(serving, values);
    const classes = ({ probabilities }: TensorMap) =>
      Array.from({ length: 8 }, (_, row) => {
        const scores = [...(probabilities?.data.slice(row * 3, row * 3 + 3) ?? [])] as number[];
        return scores.indexOf(Math.max(...scores));
      });
    const [expected, actual] = [classes(outputs), classes(wouldHave)];
    expect(comparison?.agreement?.value).toBeCloseTo(expected.filter((index, row) => index === actual[row]).length / 8);
    expect([...(comparison?.classes?.active ?? [])]).toEqual(expected);
    expect([...(comparison?.classes?.candidate ?? [])]).toEqual(actual);
    expect(comparison?.candidateLatencyUs).toBeGreaterThan(0);
  });

  it('finds that a release agrees with itself under another version', async () => {
    const same = await installClassifier({ directory: join(directory, '3'), seed: 1, version: '1.0.1' });
    const serving = await open();
    await serving.startTrial(trialOf(1, same), signal);
    await ask(serving);
    await compared(1);
    expect(recorder.comparisons[0]?.agreement).toMatchObject({ value: 1, beyondTolerance: 0, largestDifference: 0 });
  });

  it('takes its share of the requests, the same again for the same requests', async () => {
    const sampled = async (): Promise<number> => {
      recorder.comparisons.length = 0;
      const serving = await open();
      await serving.startTrial(trialOf(0.3), signal);
      for (let index = 0; index < 200; index++) {
        await ask(serving);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await serving.endTrial(first.model);
      return recorder.comparisons.length;
    };
    const count = await sampled();
    expect(count).toBeGreaterThan(30);
    expect(count).toBeLessThan(90);
    expect(await sampled()).toBe(count);
  });

  it('leaves requests out, and counts them, when the candidate does not keep up', async () => {
    const { session, waiting } = heldSession();
    const serving = await open({ openShadow: () => Promise.resolve(session) });
    await serving.startTrial(trialOf(1), signal);
    await ask(serving);
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    recorder.comparisons.length = 0;
    for (let index = 0; index < 20; index++) await ask(serving);
    // One may meet a run; after that they are left out, until a thousand others have met none.
    expect(recorder.comparisons.map(({ outcome }) => outcome)).toEqual(new Array(19).fill('dropped'));
    const ended = serving.endTrial(first.model);
    for (const end of waiting.splice(0)) end();
    await ended;
  });

  it('lets few wait for the candidate where many come at once', async () => {
    const { session, waiting } = heldSession();
    const serving = await open({ openShadow: () => Promise.resolve(session) });
    await serving.startTrial(trialOf(1), signal);
    await Promise.all(Array.from({ length: 12 }, () => ask(serving)));
    // Eight wait, and one may run already.
    const left = recorder.comparisons.map(({ outcome }) => outcome);
    expect(left).toEqual(new Array(left.length).fill('dropped'));
    expect([3, 4]).toContain(left.length);
    const ended = serving.endTrial(first.model);
    for (const end of waiting.splice(0)) end();
    await ended;
  });

  it('counts where the candidate cannot be run, and blames nothing that serves', async () => {
    const { session, waiting } = heldSession();
    const serving = await open({ openShadow: () => Promise.resolve(session) });
    await serving.startTrial(trialOf(1), signal);
    await ask(serving);
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    waiting.shift()?.();
    await compared(1);
    expect(recorder.comparisons).toMatchObject([{ outcome: 'failed', candidate: second.release }]);
    expect(serving.health(first.model)).toMatchObject({ requests: 1, failures: 0 });
  });

  it.each([
    ['this thread', (serving: InlineServing) => ask(serving)],
    ['another thread', (serving: InlineServing) => serving.compare(foreign())],
  ])('and the trial ends within a run for %s, closes the candidate only after that', async (_, begin) => {
    const { session, waiting } = heldSession();
    let isClosed = false;
    const close = () => {
      isClosed = true;
      return session.close();
    };
    const serving = await open({ openShadow: () => Promise.resolve({ ...session, close }) });
    await serving.startTrial(trialOf(1), signal);
    const begun = begin(serving);
    begun.catch(() => undefined);
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const ended = serving.endTrial(first.model);
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(false);
    waiting.shift()?.();
    await ended;
    expect(isClosed).toBe(true);
  });

  it('and ends, what still waits counts as left out', async () => {
    const { session, waiting } = heldSession();
    const serving = await open({ openShadow: () => Promise.resolve(session) });
    await serving.startTrial(trialOf(1), signal);
    await Promise.all(Array.from({ length: 3 }, () => ask(serving)));
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const ended = serving.endTrial(first.model);
    for (const end of waiting.splice(0)) end();
    await ended;
    expect(recorder.comparisons.map(({ outcome }) => outcome)).toEqual(['dropped', 'dropped']);
  });

  it('and ends, other threads are told that nothing is tried', async () => {
    const serving = await open();
    await serving.startTrial(trialOf(1), signal);
    await serving.endTrial(first.model);
    expect(() => serving.compare(foreign())).toThrow('is not served here');
  });

  it('and what serves fails, compares nothing', async () => {
    const serving = await open();
    await serving.startTrial(trialOf(1), signal);
    const request = { model: first.model, requestId: 'r', inputs: inputOf([1, 2, 3, 4]), signal: AbortSignal.abort() };
    await expect(serving.infer(request)).rejects.toMatchObject({ code: 'REQUEST_CANCELLED' });
    await ask(serving);
    await compared(1);
    await serving.endTrial(first.model);
    expect(recorder.comparisons).toHaveLength(1);
  });
});
