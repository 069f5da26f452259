import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import { ServeError } from '../../../src/serve/errors.js';
import { InlineServing, type TensorMap } from '../../../src/serve/inline/index.js';
import { openHere } from '../../../src/serve/inline/open-here.js';
import type { InstalledModel, Trial } from '../../../src/update/ports.js';
import { FEATURES, installClassifier } from '../installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from '../memory-recorder.js';

const { signal } = new AbortController();
const input = (value = 0.5): TensorMap => ({
  features: { datatype: 'FP32', shape: [1, FEATURES], data: new Float32Array(FEATURES).fill(value) },
});

let directory: string;
let recorder: MemoryRecorder;
let serving: InlineServing;
let [first, second, third]: InstalledModel[] = [];
let fail: ServeError | undefined;
let lose: ((error: ServeError) => void) | undefined;
const lost: unknown[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drover-split-'));
  recorder = memoryRecorder();
  lost.length = 0;
  fail = lose = undefined;
  serving = new InlineServing({
    providers: ['cpu'],
    hardwareClass: 'generic',
    clock: systemClock,
    recorder,
    openTrial: async (candidate, onLost) => {
      lose = onLost;
      const { session, provider } = await openHere(candidate, ['cpu']);
      const run = (inputs: TensorMap) => (fail ? Promise.reject(fail) : session.run(inputs));
      return { provider, session: { run, close: () => session.close() } };
    },
    onTrialLost: (...told) => void lost.push(told),
    onIncident: (error) => {
      throw error;
    },
  });
  [first, second, third] = await Promise.all(
    ['1.0.0', '2.0.0', '3.0.0'].map((version, seed) =>
      installClassifier({ directory: join(directory, version), seed, version }),
    ),
  );
  await serving.activate(first as InstalledModel, signal);
});
afterEach(async () => {
  await serving.close();
  rmSync(directory, { recursive: true });
});

const trialOf = (share: number, candidate = second): Trial => ({
  candidate: candidate as InstalledModel,
  terms: { mode: 'split', share, until: Date.UTC(2100, 0, 1) },
});
const model = () => (first as InstalledModel).model;
const ask = (requestId: string, more: { version?: string; splitKey?: string } = {}) =>
  serving.infer({ model: model(), requestId, inputs: input(), ...more });
const versions = async (share: number) => {
  await serving.startTrial(trialOf(share), signal);
  const answers = [];
  for (let index = 0; index < 50; index++) answers.push((await ask(`request-${index}`)).version);
  return answers;
};

describe('when a release is tried on a share of the requests', () => {
  it('answers those by it, says which release answered, and records it so', async () => {
    const running = await serving.startTrial(trialOf(0.5), signal);
    expect(running).toMatchObject({ release: second?.release, trial: { mode: 'split', share: 0.5 } });
    expect(serving.trial(model())?.running).toEqual(running);
    const answers = await versions(0.5);
    expect(new Set(answers)).toEqual(new Set(['1.0.0', '2.0.0']));
    expect(recorder.records.map(({ release }) => release.version)).toEqual(answers);
    expect(recorder.comparisons.map(({ outcome }) => (outcome === 'answered' ? '2.0.0' : '1.0.0'))).toEqual(answers);
    expect(serving.running(model())?.release).toEqual(first?.release);
  });

  it('answers each request as the release alone would', async () => {
    await serving.startTrial(trialOf(1), signal);
    const tried = await ask('a');
    await serving.endTrial(model());
    await serving.activate(second as InstalledModel, signal);
    expect((await ask('a')).outputs).toEqual(tried.outputs);
  });

  it('gives the same id or key to the same release every time', async () => {
    const answers = await versions(0.5);
    expect(await versions(0.5)).toEqual(answers);
    const keyed = await Promise.all(
      ['x', 'y', 'z'].map(async (id) => (await ask(id, { splitKey: 'camera 7' })).version),
    );
    expect(new Set(keyed).size).toBe(1);
  });

  it('answers those that name a version by that one', async () => {
    await serving.startTrial(trialOf(1), signal);
    expect((await ask('a', { version: '1.0.0' })).version).toBe('1.0.0');
    await expect(ask('a', { version: '2.0.0' })).rejects.toMatchObject({ code: 'MODEL_NOT_SERVED' });
  });

  it('and ended, answers all by the release that serves', async () => {
    await serving.startTrial(trialOf(1), signal);
    await serving.endTrial(model());
    expect((await ask('a')).version).toBe('1.0.0');
    expect(serving.trial(model())).toBeUndefined();
  });

  it('and it cannot be run, answers by the release that serves, and counts the failure against the candidate', async () => {
    await serving.startTrial(trialOf(1), signal);
    fail = new ServeError('MODEL_RUN_FAILED', 'It failed.', { remedy: 'None.' });
    expect((await ask('a')).version).toBe('1.0.0');
    expect(recorder.records).toMatchObject([
      { release: second?.release, failed: true },
      { release: first?.release, failed: false },
    ]);
    expect(serving.health(model())).toMatchObject({ requests: 1, failures: 0 });
    expect(recorder.comparisons.map(({ outcome }) => outcome)).toEqual(['failed', 'left']);
  });

  it('and nobody waits for its answer any more, gives none', async () => {
    await serving.startTrial(trialOf(1), signal);
    const gone = AbortSignal.abort();
    const request = { model: model(), requestId: 'a', inputs: input(), signal: gone };
    await expect(serving.infer(request)).rejects.toMatchObject({ code: 'REQUEST_CANCELLED' });
    expect(recorder.records).toEqual([]);
  });

  it('and its thread ends, answers all by the release that serves, and tells', async () => {
    await serving.startTrial(trialOf(1), signal);
    const error = new ServeError('MODEL_RUN_FAILED', 'The thread ended.', { remedy: 'None.' });
    lose?.(error);
    expect((await ask('a')).version).toBe('1.0.0');
    expect(serving.trial(model())).toMatchObject({ running: undefined, lost: { code: 'MODEL_RUN_FAILED' } });
    expect(lost).toEqual([[model(), error]]);
  });

  it('and another release takes over, is tried beside that one, unless it is that one', async () => {
    await serving.startTrial(trialOf(1), signal);
    await serving.activate(third as InstalledModel, signal);
    expect((await ask('a')).version).toBe('2.0.0');
    fail = new ServeError('MODEL_RUN_FAILED', 'It failed.', { remedy: 'None.' });
    await serving.activate(second as InstalledModel, signal);
    expect((await ask('a')).version).toBe('2.0.0');
    expect(recorder.records.map(({ failed }) => failed)).toEqual([false, false]);
  });

  it('and a trial is ended while it begins, leaves none behind', async () => {
    const begun = serving.startTrial(trialOf(1), signal);
    await Promise.all([begun, serving.endTrial(model())]);
    expect(serving.trial(model())).toBeUndefined();
  });
});
