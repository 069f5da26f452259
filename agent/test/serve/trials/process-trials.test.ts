import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/host/clock.js';
import { ProcessServing, type Comparison } from '../../../src/serve/index.js';
import type { InstalledModel, Trial } from '../../../src/update/ports.js';
import { installClassifier } from '../installed-classifier.js';
import { memoryRecorder, type MemoryRecorder } from '../memory-recorder.js';

const { signal } = new AbortController();

let directory: string;
let recorder: MemoryRecorder;
let serving: ProcessServing;
let first: InstalledModel;
let second: InstalledModel;
const incidents: unknown[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drover-trials-'));
  recorder = memoryRecorder();
  incidents.length = 0;
  first = await installClassifier({ directory: join(directory, '1'), seed: 1 });
  second = await installClassifier({ directory: join(directory, '2'), seed: 2, version: '2.0.0' });
  serving = await ProcessServing.open({
    host: '127.0.0.1',
    port: 0,
    providers: ['cpu'],
    hardwareClass: 'generic',
    serverVersion: '0.1.0',
    clock: systemClock,
    recorder,
    onIncident: (error) => void incidents.push(error),
  });
  await serving.activate(first, signal);
});
afterEach(async () => {
  await serving.close();
  rmSync(directory, { recursive: true });
});

const trial = (share: number): Trial => ({
  candidate: second,
  terms: { mode: 'split', share, until: Date.UTC(2100, 0, 1) },
});
const ask = async (parameters: object = {}): Promise<string> => {
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }];
  const response = await fetch(`http://127.0.0.1:${serving.address.port}/v2/models/classifier/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs, parameters }),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { model_version: string }).model_version;
};
/** The nineteenth number of each thread's stat (proc_pid_stat(5)); the name in brackets may hold anything. */
const nicenessOfThreads = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
/** Polls what happens in the other process; the test's own time-out is the bound. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}
/** Ends the process, and waits for its next life. */
const crash = async (): Promise<void> => {
  const { pid } = serving;
  process.kill(pid ?? 0, 'SIGKILL');
  await until(() => serving.pid !== pid && serving.running(first.model) !== undefined);
};

describe('when a release is tried in the inference process', () => {
  it('is answered by it as the terms say, over HTTP, until the trial is ended', async () => {
    const running = await serving.startTrial(trial(1), signal);
    expect(running).toMatchObject({ loaded: second.loaded, trial: { mode: 'split' } });
    expect(await ask()).toBe('2.0.0');
    await serving.endTrial(first.model);
    expect(await ask()).toBe('1.0.0');
    await until(() => recorder.records.length === 2);
    expect(recorder.records.map(({ release }) => release)).toEqual([second.release, first.release]);
  });

  it('keeps requests of one key together', async () => {
    await serving.startTrial(trial(0.5), signal);
    const answers = [];
    for (let count = 0; count < 10; count++) answers.push(await ask({ drover_split_key: 'line 4' }));
    expect(new Set(answers).size).toBe(1);
  });

  it(
    'goes on with it after a crash, and without it after the third, which are laid to it alone',
    { timeout: 60_000 },
    async () => {
      await serving.startTrial(trial(1), signal);
      for (let crashes = 1; crashes <= 2; crashes++) {
        await crash();
        await until(() => serving.trial(first.model)?.running !== undefined);
        expect(await ask()).toBe('2.0.0');
      }
      await crash();
      expect(serving.trial(first.model)).toMatchObject({
        running: undefined,
        lost: { code: 'INFERENCE_PROCESS_DIED' },
      });
      expect(await ask()).toBe('1.0.0');
      expect(serving.health(first.model).crashes).toBe(0);
      await crash();
      expect(serving.health(first.model).crashes).toBe(1);
    },
  );

  it('compares it on a thread of the lowest priority, and what it found reaches this process', async () => {
    const shadow: Trial = { candidate: second, terms: { ...trial(1).terms, mode: 'shadow' } };
    await serving.startTrial(shadow, signal);
    for (let count = 0; count < 3; count++) expect(await ask()).toBe('1.0.0');
    // Others may be left out: few requests may meet a run of the candidate.
    const compared = (): Comparison | undefined => recorder.comparisons.find(({ outcome }) => outcome === 'compared');
    await until(() => compared() !== undefined);
    expect(compared()).toMatchObject({
      mode: 'shadow',
      active: { release: first.release },
      candidate: second.release,
      outcome: 'compared',
      agreement: { measure: 'same-class', compared: 1 },
    });
    if (platform() === 'linux') expect(nicenessOfThreads(serving.pid ?? 0)).toContain(19);
  });

  it('when a trial is ended while the process is down, does not begin it again', async () => {
    await serving.startTrial(trial(1), signal);
    process.kill(serving.pid ?? 0, 'SIGKILL');
    await until(() => serving.running(first.model) === undefined);
    await serving.endTrial(first.model);
    await until(() => serving.running(first.model) !== undefined);
    expect(await ask()).toBe('1.0.0');
    expect(serving.trial(first.model)).toBeUndefined();
  });
});
