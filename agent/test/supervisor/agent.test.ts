import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Value } from 'typebox/value';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { ProfileBuilder, toJson } from '@drover/shared/profile';
import type { Deployment } from '@drover/shared/protocol';
import { calibrateDrift } from '@drover/shared/statistics';
import { AgentConfig } from '../../src/config/index.js';
import { inlineTelemetry, openTelemetry, type LabelLook, type TelemetryStore } from '../../src/monitor/index.js';
import { clouds } from '../learn/synthetic.js';
import { recipe, tunableRelease } from '../learn/tunable-release.js';
import { model, orderFor, publish, quickProbation, type Published } from '../update/fixtures/releases.js';
import { openAgentBench, until, type AgentBench } from './agent-bench.js';

const first = publish('1.0.0');
const second = publish('2.0.0');
const order = (release: Published, change: Partial<Deployment> = {}) =>
  orderFor(release, { probation: { ...quickProbation, minMs: 50 }, ...change });

describe('the agent', () => {
  let bench: AgentBench;
  beforeEach(async () => {
    bench = await openAgentBench(first, second);
  });
  afterEach(() => bench.close());

  const state = () => bench.agent.status().models.find((each) => each.model === model);
  const outcome = (release: Published) =>
    until(() => {
      const { update, lastOutcome } = state() ?? {};
      return update?.state === 'idle' && lastOutcome?.release.version === release.release.version && lastOutcome;
    });
  const committed = async (release: Published) => {
    await bench.order(order(release));
    await expect(outcome(release)).resolves.toMatchObject({ outcome: 'committed' });
  };
  /** Makes the outbox refuse every report, or take them again. */
  const breakOutbox = (isBroken: boolean) => {
    const database = new Database(join(bench.dataDir, 'outbox.db'));
    database.exec(
      isBroken
        ? "CREATE TRIGGER no_room BEFORE INSERT ON reports BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        : 'DROP TRIGGER no_room',
    );
    database.close();
  };
  const openFiles = () =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return [];
      }
    });

  it('when an order comes, it is carried out, and the signed reports tell each step and what runs', async () => {
    await bench.start();
    await committed(first);
    await until(() =>
      bench.of('state').some(({ body }) => JSON.stringify(body).includes(`"loaded":"${digestOf(first.modelBytes)}"`)),
    );
    await until(() => bench.of('telemetry').length > 0);
    const steps = () => bench.of('transition').map(({ body }) => (body as { to: string }).to);
    await until(() => steps().at(-1) === 'idle');
    expect(steps()[0]).toBe('received');
    expect(bench.agent.status()).toMatchObject({ deviceId: 'pump-7', connected: true, lastProblems: [] });
    expect(bench.agent.status().linkProblem).toBeUndefined();
  });

  it('when the clock says 1970, it serves and says so; orders are judged by the time of the last order', async () => {
    bench.wallMs = 86_400_000;
    await bench.start();
    await until(() => bench.of('incident').find(({ body }) => JSON.stringify(body).includes('HOST_CLOCK_BEHIND')));
    const january = Date.UTC(2026, 0, 1);
    const stale = order(second, { issuedAt: january - 2_000, expiresAt: january - 1_000 });
    await committed(first);
    expect(bench.serving.running(model)?.release.version).toBe('1.0.0');
    await bench.order({ ...stale, counter: stale.counter + 1_000_000 });
    await until(() => bench.of('refusal').find(({ body }) => JSON.stringify(body).includes('DEPLOYMENT_EXPIRED')));
    await bench.stop();
    await bench.start();
    await until(() => bench.serving.running(model));
    expect(bench.agent.status().lastProblems).toMatchObject([{ code: 'HOST_CLOCK_BEHIND' }]);
  });

  it('when reports cannot be stored, updates go on, the status says so, and no count is lost', async () => {
    await bench.start();
    await until(() => bench.of('telemetry').length > 0);
    breakOutbox(true);
    await committed(first);
    await bench.telemetry.record([
      { model, release: first.release, requestId: 'r', atMs: 1, latencyUs: 1, failed: false, inferences: 7 },
    ]);
    await until(() => bench.log.filter(({ kind }) => kind === 'telemetry').length >= 2);
    expect(bench.serving.running(model)?.release.version).toBe('1.0.0');
    expect(bench.agent.status().lastProblems).toMatchObject([{ what: 'database or disk is full' }]);
    breakOutbox(false);
    const counted = await until(() => {
      const found = bench.of('telemetry').flatMap(({ body }) => (body as { models: { inferences: number }[] }).models);
      return found.length > 0 && found;
    });
    expect(counted).toMatchObject([{ inferences: 7 }]);
    await until(() => JSON.stringify(bench.of('state').at(-1)?.body ?? '').includes('"version":"1.0.0"'));
  });

  it('when the disk is full, the order ends with that code, and the next succeeds once there is room', async () => {
    await bench.start();
    bench.diskFreeBytes = 1024;
    await bench.order(order(first));
    await expect(outcome(first)).resolves.toMatchObject({ outcome: 'fell-back', error: { code: 'UPDATE_DISK_FULL' } });
    expect(bench.serving.running(model)).toBeUndefined();
    bench.diskFreeBytes = 1024 ** 4;
    await committed(second);
    expect(bench.serving.running(model)?.release.version).toBe('2.0.0');
  });

  it('when a model stops being served without an update, the state is reported', async () => {
    await bench.start();
    await committed(first);
    await until(() => JSON.stringify(bench.of('state').at(-1)?.body ?? '').includes('"running"'));
    await bench.serving.deactivate(model);
    await until(() => !JSON.stringify(bench.of('state').at(-1)?.body ?? '"running"').includes('"running"'));
    const stated = bench.of('state').length;
    const telemetry = bench.of('telemetry').length;
    await until(() => bench.of('telemetry').length >= telemetry + 3);
    expect(bench.of('state')).toHaveLength(stated);
  });

  it('when telemetry is broken, releases are activated all the same, and that is told', async () => {
    await bench.start();
    await bench.stop();
    const broken = { ...bench.telemetry, lastSampleId: () => Promise.reject(new Error('telemetry.db is broken')) };
    const verdicts = () => Promise.reject(new Error('telemetry.db is broken'));
    const profiled = withProfile(publish('3.0.0'));
    bench.server.add(profiled);
    const takeNothing = () => Promise.resolve([]);
    await bench.start({ telemetry: { ...broken, verdicts, takeCounts: takeNothing, takeComparisons: takeNothing } });
    await committed(profiled);
    expect(bench.agent.status().lastProblems.map(({ what }) => what)).toContain('telemetry.db is broken');
  });

  it('when the agent is started again under an alarm, the status still shows it, and tuning is wanted', async () => {
    await bench.start();
    await committed(first);
    await bench.telemetry.saveVerdict({
      servedBy: { model, release: first.release },
      afterId: 0,
      lastId: 5,
      decidedAtMs: 10,
      windowEndAtMs: 9,
      decision: { verdict: 'DRIFT', drift: true, statistic: 1, threshold: 0.1, windowSize: 5, worst: [] },
      alarm: true,
      inARow: 2,
    });
    await bench.stop();
    await bench.start();
    expect(bench.agent.status().driftedModels).toEqual([model]);
    const wishes = readFileSync(join(bench.dataDir, 'tuning', 'wishes.json'), 'utf8');
    expect(JSON.parse(wishes)).toMatchObject({ wishes: [{ model, base: digestOf(first.modelBytes), sinceMs: 9 }] });
  });

  it('when labels are turned on, it asks for them as configured; turned off, it closes what was asked for', async () => {
    const looks: LabelLook[] = [];
    const store = inlineTelemetry(
      openTelemetry({ file: ':memory:', maxSamples: 100, nowMs: () => 0, onRebuilt: () => undefined }),
    );
    const telemetry: TelemetryStore = { ...store, requestLabels: (look) => Promise.resolve(looks.push(look)) };
    const labels = { perDay: 8, maxOpen: 4, driftFactor: 2, randomShare: 0.5 };
    const defaults = Value.Default(AgentConfig, { dataDir: bench.dataDir }) as AgentConfig;
    await bench.start({
      telemetry,
      config: { ...defaults, labels: { ...labels, expireAfterDays: 2, sendFeatures: false } },
    });
    await until(() => looks.length > 0);
    expect(looks[0]).toEqual({ ...labels, expireAfterMs: 172_800_000, isDrifting: false, nowMs: bench.wallMs });
    await bench.stop();
    await bench.start({ telemetry });
    expect(looks.at(-1)).toMatchObject({ perDay: 0 });
    await bench.stop();
    await store.close();
  });

  it('when it is stopped while it trains, it stops within seconds', async () => {
    const trainable = await withNetwork(publish('4.0.0'));
    bench.server.add(trainable);
    await bench.start();
    await committed(trainable);
    const { loaded } = state()?.running ?? {};
    const samples = clouds({ count: 300, seed: 31, shift: 2 });
    await bench.telemetry.record([
      {
        model,
        release: trainable.release,
        requestId: 'r',
        atMs: 1,
        latencyUs: 1,
        failed: false,
        inferences: samples.count,
        features: { values: samples.features, count: samples.count, width: samples.width },
      },
    ]);
    await bench.telemetry.label([{ model, requestId: 'r', atMs: 2, of: 'classes', labels: [...samples.labels] }]);
    await bench.stop();
    const wish = { model, base: loaded, sinceMs: 0, atLeast: 0, attempts: 0, done: false };
    mkdirSync(join(bench.dataDir, 'tuning'), { recursive: true });
    writeFileSync(
      join(bench.dataDir, 'tuning', 'wishes.json'),
      JSON.stringify({ format: 'drover.tuning-wishes/1', wishes: [wish] }),
    );
    await bench.start();
    await until(() => bench.log.some(({ event }) => event === 'training'));
    const beganAtMs = performance.now();
    await bench.agent.close();
    // Unstopped, this training takes hours.
    expect(performance.now() - beganAtMs).toBeLessThan(10_000);
  });

  it('when it cannot start, it leaves nothing open, and starts once the reason is gone', async () => {
    await bench.start();
    await bench.stop();
    const journal = join(bench.dataDir, 'journal.db');
    copyFileSync(journal, `${journal}.good`);
    const database = new Database(journal);
    database.pragma('user_version = 1000');
    database.close();
    await expect(bench.start()).rejects.toMatchObject({ code: 'DATABASE_SCHEMA_NEWER' });
    await bench.telemetry.close();
    expect(openFiles().filter((file) => file.startsWith(bench.dataDir))).toEqual([]);
    copyFileSync(`${journal}.good`, journal);
    await bench.start();
    expect(bench.agent.status().models).toEqual([]);
  });

  it('when it is closed twice, and told of a problem after that, nothing is thrown', async () => {
    await bench.start();
    await Promise.all([bench.agent.close(), bench.agent.close()]);
    bench.agent.incident(new Error('too late'));
    expect(bench.log.at(-1)).toMatchObject({ event: 'report not stored', level: 'error' });
  });
});

/** The release with one more manifest change and the files that it names. */
function republish(published: Published, change: Partial<Published['manifest']>, more: Uint8Array[]): Published {
  const changed = publish(published.manifest.version, { change });
  return { ...changed, files: new Map([...changed.files, ...more.map((bytes) => [digestOf(bytes), bytes] as const)]) };
}

const reference = (path: string, bytes: Uint8Array) => ({ path, digest: digestOf(bytes), bytes: bytes.length });

/** With what drift is watched by. */
function withProfile(published: Published): Published {
  const { features, count, width } = clouds({ count: 200, width: 2, classes: 2 });
  const builder = new ProfileBuilder({ features: ['x', 'y'] });
  for (let row = 0; row < count; row++) builder.add(features.subarray(row * width, (row + 1) * width));
  const profile = Buffer.from(JSON.stringify(toJson(builder.build())));
  const drift = calibrateDrift({
    rows: features,
    width,
    windowSize: 20,
    falseAlarmsPerWindow: 0.01,
    runs: 200,
    seed: 1,
  });
  return republish(published, { referenceProfile: reference('profile.json', profile), drift }, [profile]);
}

async function withNetwork(published: Published): Promise<Published> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-network-'));
  const { modelFile, manifest, variant, directory } = await tunableRelease(folder);
  const network = readFileSync(modelFile);
  const assets = manifest.assets.map((asset) => ({ asset, bytes: readFileSync(join(directory, asset.file.path)) }));
  rmSync(folder, { recursive: true });
  return republish(
    published,
    {
      variants: [{ ...variant, model: reference('model.onnx', network) }],
      assets: assets.map(({ asset }) => asset),
      recipe: { ...recipe, epochs: 10_000, batchSize: 1 },
    },
    [network, ...assets.map(({ bytes }) => bytes)],
  );
}
