import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '@drover/agent/host';
import { ProcessServing } from '@drover/agent/serve';
import { createUpdater, httpReleaseSource, type Serving } from '@drover/agent/update';
import { createModelPool } from '../../src/chaos/releases/model-pool.js';
import { startReleaseServer, TRIAL_CREDENTIAL } from '../../src/chaos/releases/release-server.js';
import { createPublisher, HARDWARE_CLASS, TRIAL_DEVICE, TRIAL_MODEL } from '../../src/chaos/releases/releases.js';

export interface RevertOptions {
  readonly folder: string;
  readonly reverts: number;
  readonly crashes: number;
  readonly signal: AbortSignal;
}

const DEADLINE_MS = 60_000;
/** Never over by itself: what ends it here is a failure. */
const PROBATION = { minMs: 3_600_000, minRequests: 4, maxMs: 7_200_000, maxFailureShare: 0.1, maxCrashes: 1 };

/**
 * The time from the moment in which a candidate in probation turns bad until the committed release serves again: by the real updater and journal, with the
 * inference process as it is on a device. Only the self-test before is left out, which is no part of that time.
 */
export async function measureReverts({ folder, reverts, crashes, signal }: RevertOptions) {
  const publisher = createPublisher(await createModelPool());
  const server = await startReleaseServer(publisher);
  const dataDir = join(folder, 'reverts');
  await mkdir(dataDir, { recursive: true });
  const processes = await ProcessServing.open({
    host: '127.0.0.1',
    port: 0,
    providers: ['cpu'],
    hardwareClass: HARDWARE_CLASS,
    serverVersion: 'bench',
    clock: systemClock,
    recorder: {
      record: () => undefined,
      compare: () => undefined,
      label: () => Promise.reject(new Error('nothing is recorded here')),
      inputs: () => undefined,
    },
    // A crash is what is asked for here; that it was survived is what is measured.
    onIncident: () => undefined,
  });
  let isSick = false;
  const serving: Serving = {
    selfTest: () =>
      Promise.resolve({ provider: { requested: ['cpu'], actual: 'cpu' }, worstDifference: 0, latencyUs: 1 }),
    activate: (candidate, stop, replaced) => processes.activate(candidate, stop, replaced),
    dropKept: (model) => processes.dropKept(model),
    deactivate: (model) => processes.deactivate(model),
    running: (model) => processes.running(model),
    health: (model) => (isSick ? { requests: 100, failures: 100, crashes: 0 } : processes.health(model)),
  };
  const updater = await createUpdater({
    dataDir,
    deviceId: TRIAL_DEVICE,
    hardwareClass: HARDWARE_CLASS,
    pinnedRoot: Buffer.from(publisher.pinnedRoot),
    enrolled: { epoch: 1, director: publisher.director },
    source: httpReleaseSource({ controlPlaneUrl: server.url, deviceId: TRIAL_DEVICE, credential: TRIAL_CREDENTIAL }),
    serving,
    clock: systemClock,
    onTransition: () => undefined,
    onRefusal: ({ error }) => {
      throw new Error(`${error.code}: ${error.what}`);
    },
    onIncident: () => undefined,
  });
  const state = () => updater.state().find(({ model }) => model === TRIAL_MODEL)?.update.state ?? 'idle';
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const startMs = performance.now();
    while (!holds()) {
      signal.throwIfAborted();
      if (performance.now() - startMs > DEADLINE_MS) throw new Error(`${what} did not come; the state is ${state()}.`);
      await pause(1);
    }
  };
  const committed = publisher.publish(1);
  server.offer(committed);
  const first = publisher.order(committed.release, {
    probation: { ...PROBATION, minMs: 0, minRequests: 0, maxMs: 1_000 },
  });
  await updater.receive(first.bytes);
  await until('the first release', () => state() === 'idle' && serving.running(TRIAL_MODEL) !== undefined);

  let number = 2;
  async function revert(break_: () => void): Promise<number> {
    const candidate = publisher.publish(number++);
    server.offer(candidate);
    await updater.receive(publisher.order(candidate.release, { probation: PROBATION }).bytes);
    await until('probation', () => state() === 'probation');
    const startMs = performance.now();
    break_();
    await until(
      'the committed release',
      () => serving.running(TRIAL_MODEL)?.release.digest === committed.release.digest,
    );
    const tookMs = performance.now() - startMs;
    isSick = false;
    await until('the end', () => state() === 'idle');
    return tookMs;
  }
  try {
    const sickMs: number[] = [];
    for (let run = 0; run < reverts; run++) sickMs.push(await revert(() => (isSick = true)));
    const crashMs: number[] = [];
    for (let run = 0; run < crashes; run++) {
      crashMs.push(
        await revert(() => {
          if (processes.pid !== undefined) process.kill(processes.pid, 'SIGKILL');
        }),
      );
    }
    return {
      revertP99Ms: p99(sickMs),
      revertCrashP99Ms: p99(crashMs),
      reverts,
      crashes,
      sickMs: rounded(sickMs),
      crashMs: rounded(crashMs),
    };
  } finally {
    await updater.close();
    await processes.close();
    await server.close();
  }
}

const p99 = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.min(values.length - 1, Math.ceil(values.length * 0.99) - 1)] ??
  NaN;
const rounded = (values: readonly number[]): number[] => values.map((value) => Math.round(value));
