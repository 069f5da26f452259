import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId, digestOf } from '@drover/shared/ids';
import type { AdaptationBody } from '@drover/shared/protocol';
import type { Examples } from '../../src/learn/index.js';
import { TuningQueue, type TuningQueueOptions } from '../../src/supervisor/tuning-queue.js';
import type { InstalledModel } from '../../src/update/index.js';
import { UpdateError } from '../../src/update/index.js';
import { clouds } from '../learn/synthetic.js';
import { DRIFT, tunableRelease, withRecipe } from '../learn/tunable-release.js';
import { someDigest } from '../serve/installed-classifier.js';
import { memoryServing } from '../update/fixtures/memory-serving.js';
import { virtualClock, type VirtualClock } from '../update/fixtures/virtual-clock.js';

describe('the tuning queue', () => {
  let releases: string;
  let release: InstalledModel;
  let dataDir: string;
  let active: InstalledModel;
  let isSettled: boolean;
  let samples: Examples;
  let unreadable: Error | undefined;
  let asked: number;
  let clock: VirtualClock;
  let reports: AdaptationBody[];
  let problems: { code?: string; message: string }[];
  let activate: TuningQueueOptions['activate'];
  let onTraining: () => void;
  let adaptation: 'off' | 'propose' | 'auto';
  let maxSamples: number;

  beforeAll(async () => {
    releases = mkdtempSync(join(tmpdir(), 'drover-queue-'));
    release = await tunableRelease(join(releases, '1'));
  });
  afterAll(() => rmSync(releases, { recursive: true }));
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'drover-queue-data-'));
    active = release;
    isSettled = true;
    samples = clouds({ count: 200, seed: 31, ...DRIFT });
    unreadable = undefined;
    asked = 0;
    clock = virtualClock();
    reports = [];
    problems = [];
    activate = ({ digest, modelFile }) => {
      active = { ...active, loaded: digest, adaptation: digest, modelFile };
      return Promise.resolve();
    };
    onTraining = () => undefined;
    adaptation = 'auto';
    maxSamples = 20_000;
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  /** A new one on the same folder is the agent after a restart. */
  const open = () =>
    new TuningQueue({
      config: { dataDir, learn: { adaptation, memoryMiB: 512 }, telemetry: { intervalMs: 1_000, maxSamples } },
      deviceId: DeviceId('pump-7'),
      serving: memoryServing(),
      telemetry: {
        labelled: () => {
          asked += 1;
          return unreadable ? Promise.reject(unreadable) : Promise.resolve(samples);
        },
      },
      clock,
      log: { info: (event) => (event === 'training' ? onTraining() : undefined) },
      active: (model) => (model === active.model ? active : undefined),
      isSettled: () => isSettled,
      activate: (tuned) => activate(tuned),
      report: (body) => void reports.push(body),
      onProblem: (error) => void problems.push(error as Error),
    });
  const model = () => release.model;
  /** So sure that no sample of this size can be. */
  const doubtful = () => withRecipe(release, { bounds: { alpha: 1e-12 } });

  it('when drift was raised, it tunes once, reports, and does not tune the adaptation for the same alarm', async () => {
    const queue = open();
    queue.want(model(), 1);
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'PASS', active: true, base: release.release }]);
    expect(active.adaptation).toBe(reports[0]?.adaptation);
    queue.want(model(), 2);
    await queue.check();
    const restarted = open();
    restarted.recall(model(), release.release.digest, 2);
    await restarted.check();
    expect([reports.length, asked, problems]).toEqual([1, 1, []]);
  });

  it('when the agent is restarted while it waits for labels, it goes on waiting, and tunes when they are there', async () => {
    const few = clouds({ count: 20, seed: 31, ...DRIFT });
    const enough = samples;
    samples = few;
    const queue = open();
    queue.want(model(), 1);
    await queue.check();
    const restarted = open();
    await restarted.check();
    expect(reports).toEqual([]);
    samples = enough;
    await restarted.check();
    expect(reports).toMatchObject([{ verdict: 'PASS' }]);
  });

  it('when an alarm is up after a start and nothing is known of it, it is wanted again; when it came to an end, not', async () => {
    active = withRecipe(release, { bounds: { minImprovement: 0.9 } });
    const queue = open();
    queue.recall(model(), release.release.digest, 1);
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'FAIL', active: false }]);
    const restarted = open();
    restarted.recall(model(), release.release.digest, 5);
    restarted.recall(model(), someDigest('b'), 5);
    await restarted.check();
    expect([reports.length, asked]).toEqual([1, 1]);
    restarted.want(model(), 9);
    await restarted.check();
    expect(reports).toHaveLength(2);
  });

  it('when the alarm is cleared, nothing is tuned', async () => {
    const queue = open();
    queue.want(model(), 1);
    queue.forget(model());
    await queue.check();
    await open().check();
    expect(asked).toBe(0);
  });

  it('when an attempt is inconclusive, it is repeated on twice the samples', async () => {
    active = doubtful();
    samples = clouds({ count: 100, seed: 31, ...DRIFT });
    const queue = open();
    queue.want(model(), 1);
    await queue.check();
    samples = clouds({ count: 199, seed: 31, ...DRIFT });
    await queue.check();
    expect(reports.map(({ verdict }) => verdict)).toEqual(['INCONCLUSIVE']);
    samples = clouds({ count: 200, seed: 31, ...DRIFT });
    await queue.check();
    expect(reports.map(({ trainedOn, holdout }) => trainedOn.labelled + holdout.count)).toEqual([100, 200]);
  });

  it('when twice the samples are more than the device keeps, it tries once more with all, and then ends', async () => {
    active = doubtful();
    maxSamples = 150;
    samples = clouds({ count: 100, seed: 31, ...DRIFT });
    const queue = open();
    queue.want(model(), 1);
    await queue.check();
    samples = clouds({ count: 135, seed: 31, ...DRIFT });
    await queue.check();
    await queue.check();
    expect([reports.length, asked]).toEqual([2, 2]);
  });

  it('when the policy of the device is off, nothing is asked for', async () => {
    adaptation = 'off';
    const queue = open();
    queue.want(model(), 1);
    await queue.check();
    await queue.check();
    expect([asked, reports, problems]).toEqual([0, [], []]);
  });

  it('when an update is in progress, it waits; when that falls back, it tunes what was wanted', async () => {
    const queue = open();
    queue.want(model(), 1);
    isSettled = false;
    await queue.check();
    active = { ...release, loaded: someDigest('c'), release: { ...release.release, digest: someDigest('d') } };
    isSettled = true;
    await queue.check();
    expect(asked).toBe(0);
    active = release;
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'PASS' }]);
  });

  it('when the trainer is killed, that is told, nothing changes, and it is tried again after a pause, at most three times', async () => {
    active = withRecipe(release, { epochs: 10_000, batchSize: 1 });
    onTraining = () => {
      for (const pid of trainers()) process.kill(pid, 'SIGKILL');
    };
    const queue = open();
    queue.want(model(), 1);
    const before = active;
    for (let attempt = 1; attempt <= 3; attempt++) {
      await queue.check();
      await queue.check();
      expect(problems.map(({ code }) => code)).toEqual(Array.from({ length: attempt }, () => 'LEARN_TRAINER_DIED'));
      clock.advance(200_000);
    }
    expect([active, reports]).toEqual([before, []]);
    await queue.check();
    expect(problems.at(-1)).toMatchObject({ code: 'TUNING_GIVEN_UP' });
    await open().check();
    expect(problems).toHaveLength(4);
  });

  it('when training takes the whole agent down three times, it is not begun a fourth time', async () => {
    const queue = open();
    queue.want(model(), 1);
    const file = join(dataDir, 'tuning', 'wishes.json');
    const state = JSON.parse(readFileSync(file, 'utf8')) as { wishes: { attempts: number }[] };
    writeFileSync(file, JSON.stringify({ ...state, wishes: state.wishes.map((wish) => ({ ...wish, attempts: 3 })) }));
    await open().check();
    expect([asked, problems]).toMatchObject([0, [{ code: 'TUNING_GIVEN_UP' }]]);
  });

  it('when the agent stops while it trains, it ends at once, and trains after the next start', async () => {
    active = withRecipe(release, { epochs: 10_000, batchSize: 1 });
    const queue = open();
    onTraining = () => queue.close();
    queue.want(model(), 1);
    await queue.check();
    expect([reports, problems, trainers()]).toEqual([[], [], []]);
    active = release;
    await open().check();
    expect(reports).toMatchObject([{ verdict: 'PASS' }]);
  });

  it('when an update comes between training and activation, what is reported does not serve, and it is tried again', async () => {
    const queue = open();
    queue.want(model(), 1);
    const whenFree = activate;
    activate = () =>
      Promise.reject(new UpdateError('ADAPTATION_NOT_POSSIBLE', 'An update is in progress.', { remedy: 'Wait.' }));
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'PASS', active: false }]);
    expect(problems).toMatchObject([{ code: 'ADAPTATION_NOT_POSSIBLE' }]);
    activate = whenFree;
    clock.advance(200_000);
    await queue.check();
    expect(reports.at(-1)).toMatchObject({ verdict: 'PASS', active: true });
  });

  it('when activation hangs while the agent stops, nobody waits for it', async () => {
    const queue = open();
    queue.want(model(), 1);
    activate = () => {
      queue.close();
      return new Promise(() => undefined);
    };
    await queue.check();
    expect([reports, problems]).toEqual([[], []]);
  });

  it('when the samples cannot be read, the caller hears of it, and it counts as no attempt', async () => {
    const queue = open();
    queue.want(model(), 1);
    unreadable = new Error('telemetry.db is broken');
    for (let turn = 0; turn < 5; turn++) await expect(queue.check()).rejects.toThrow('telemetry.db is broken');
    unreadable = undefined;
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'PASS' }]);
  });

  it('when the file of wishes is damaged, that is told, and it begins anew', async () => {
    mkdirSync(join(dataDir, 'tuning'));
    writeFileSync(join(dataDir, 'tuning', 'wishes.json'), '{"format":"drover.tuning-wishes/1","wishes":[{}]}');
    const queue = open();
    expect(problems).toHaveLength(1);
    queue.want(model(), 1);
    await queue.check();
    expect(reports).toMatchObject([{ verdict: 'PASS' }]);
    expect(digestOf(readFileSync(active.modelFile))).toBe(active.loaded);
  });
});

/** Trainer processes of this test's process that live. */
function trainers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('trainer-main');
      } catch {
        return false;
      }
    })
    .map(Number);
}
