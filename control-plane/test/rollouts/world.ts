import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { DeviceId, digestOf, ModelName, Version, type Digest } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import {
  openDeployment,
  ordersTopic,
  reportsTopic,
  signReport,
  type Deployment,
  type Report,
  type ReportBody,
} from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf, type KeyPair } from '@drover/shared/trust';
import { startBroker, type BrokerPort } from '../../src/broker/index.js';
import { openDatabase, type Db } from '../../src/database/index.js';
import { deviceDirectory } from '../../src/devices/index.js';
import { openRecovery, type Recovery } from '../../src/recovery/index.js';
import { createDirector, type Director } from '../../src/director/index.js';
import { hashSecret } from '../../src/governance/index.js';
import { startEngine, type RolloutEngine, type RolloutRequest } from '../../src/rollouts/index.js';
import { createIngest } from '../../src/telemetry/index.js';

export const MODEL = ModelName('gas-classifier');
const HARDWARE = 'cpu-small';

export interface Release {
  readonly version: Version;
  readonly digest: Digest;
}

/** What a scripted device does with an order. `lies`: says that it committed and runs what it ran before (hawkBit #3185). */
export type Conduct = 'commits' | 'falls-back' | 'lies' | 'is-silent';

/** The control plane's parts as `main` composes them, on a real database and a real broker; only the clock is ours. */
export interface World {
  readonly db: Db;
  readonly broker: BrokerPort;
  readonly director: Director;
  readonly recovery: Recovery;
  /** Signs recovery statements. */
  readonly rootKey: KeyPair;
  readonly engine: RolloutEngine;
  readonly errors: unknown[];
  readonly clock: { nowMs: number };
  publish(version: string, facts?: Partial<Manifest>): Promise<Release>;
  device(name: string, site?: string): Promise<ScriptedDevice>;
  restartEngine(): Promise<void>;
  stateOf(rollout: string): Promise<string>;
  memberStates(rollout: string): Promise<Record<string, string>>;
  close(): Promise<void>;
}

export async function createWorld(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'drover-world-'));
  const clock = { nowMs: Date.parse('2026-01-01T00:00:00Z') };
  const now = () => clock.nowMs;
  const errors: unknown[] = [];
  const db = await openDatabase({ file: join(directory, 'control-plane.sqlite'), now });
  const directorKey = createKeyPair('director');
  const devices = deviceDirectory(db);
  const clients: ScriptedDevice[] = [];
  // The order of composition of `main`: the broker first, then what it calls, which cannot be called before devices connect.
  const broker = await startBroker({
    host: '127.0.0.1',
    port: 0,
    devices: { ...devices, holderOf: () => Promise.resolve({ kind: 'refused', why: 'no TLS here' }) },
    now,
    onIncident: ({ error }) => errors.push(error),
    onSubscribed: (device) => director.welcome(device),
  });
  const rootKey = createKeyPair('root');
  const recovery = await openRecovery({
    db,
    rootKeys: () => Promise.resolve({ threshold: 1, keys: [publicKeyOf(rootKey)] }),
    director: { threshold: 1, keys: [publicKeyOf(directorKey)] },
    now,
  });
  const director = createDirector({
    db,
    signer: bulkSigner(directorKey),
    publisher: broker,
    now,
    recovery,
    resendMs: 0,
  });
  const newEngine = () =>
    startEngine({
      db,
      director,
      recovery,
      now,
      onError: (error) => errors.push(error),
      intervalMs: 60_000,
      nudgeMs: 1,
    });
  const running = { engine: newEngine() };
  const ingest = createIngest({
    db,
    devices,
    now,
    onReport: async (report) => {
      if (report.kind === 'state') await director.settle(report.deviceId);
      running.engine.nudge();
    },
    onListenerError: (error) => errors.push(error),
  });
  broker.onReports(async (topic, payload) => {
    await ingest.receive(topic, payload);
  });

  return {
    db,
    broker,
    recovery,
    rootKey,
    director,
    errors,
    clock,
    get engine() {
      return running.engine;
    },
    publish: (version, facts) => publishRelease(db, version, facts),
    async device(name, site = 'a') {
      const device = await ScriptedDevice.enrol(db, broker.url, directorKey, name, site, now);
      clients.push(device);
      return device;
    },
    async restartEngine() {
      await running.engine.close();
      running.engine = newEngine();
    },
    async stateOf(rollout) {
      const row = await db
        .selectFrom('rollouts')
        .select('state')
        .where('id', '=', rollout as never)
        .executeTakeFirstOrThrow();
      return row.state;
    },
    async memberStates(rollout) {
      const rows = await db
        .selectFrom('rollout_devices')
        .select(['device_id', 'state'])
        .where('rollout_id', '=', rollout as never)
        .execute();
      return Object.fromEntries(rows.map((row) => [row.device_id, row.state]));
    },
    async close() {
      for (const client of clients) await client.leave();
      await running.engine.close();
      await broker.close();
      await db.destroy();
      rmSync(directory, { recursive: true });
    },
  };
}

const fileOf = (path: string) => ({ path, digest: digestOf(Buffer.from(path)), bytes: 1 });

async function publishRelease(db: Db, version: string, facts: Partial<Manifest> = {}): Promise<Release> {
  const manifest: Manifest = {
    format: 'drover.release/1',
    model: MODEL,
    version: Version(version),
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'classification' },
    variants: [
      {
        name: 'default',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: fileOf(`model-${version}.onnx`),
        signature: {
          inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 8] }],
          outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 4] }],
        },
      },
    ],
    assets: [],
    contract: {
      perHardwareClass: [],
      parity: { absolute: 1e-4, relative: 1e-4 },
      heldOut: { accuracy: 0.9, rows: 5000 },
    },
    goldenVectors: fileOf('golden.json'),
    lineage: { data: [] },
    ...facts,
  };
  const manifestText = JSON.stringify(manifest);
  const digest = digestOf(Buffer.from(manifestText));
  await db
    .insertInto('releases')
    .values({
      digest,
      model: MODEL,
      version: manifest.version,
      parent: null,
      manifest: manifestText,
      published_at: 0,
      published_by: 'test',
      withdrawn_at: null,
    })
    .execute();
  return { version: manifest.version, digest };
}

/** A device by script: real key, real MQTT, real signatures, no model. */
export class ScriptedDevice {
  readonly id: DeviceId;
  conduct: Conduct = 'commits';
  running: Release | undefined;
  /** Versions in the order in which it ran them. */
  readonly history: Version[] = [];
  readonly orders: Deployment[] = [];
  private readonly key: KeyPair;
  private readonly directorKey: KeyPair;
  private readonly now: () => number;
  private readonly connection: { url: string; credential: string };
  private client: MqttClient | undefined;
  private sequence = 0;
  private accepted: { epoch: number; counter: number } | undefined;
  private lastOutcome: ReportBody<'state'>['models'][number]['lastOutcome'];
  private work: Promise<void> = Promise.resolve();

  private constructor(facts: {
    id: DeviceId;
    key: KeyPair;
    directorKey: KeyPair;
    now: () => number;
    connection: { url: string; credential: string };
  }) {
    this.id = facts.id;
    this.key = facts.key;
    this.directorKey = facts.directorKey;
    this.now = facts.now;
    this.connection = facts.connection;
  }

  static async enrol(
    db: Db,
    url: string,
    directorKey: KeyPair,
    name: string,
    site: string,
    now: () => number,
  ): Promise<ScriptedDevice> {
    const id = DeviceId(name);
    const key = createKeyPair(name);
    const credential = `credential-of-${name}`;
    await db
      .insertInto('devices')
      .values({
        id,
        public_key: key.publicKey,
        key_id: key.keyId,
        credential_hash: hashSecret(credential),
        hardware_class: HARDWARE,
        agent_version: 'test',
        enrolled_at: now(),
        last_seen_at: null,
        connected: 0,
      })
      .execute();
    await db.insertInto('device_attributes').values({ device_id: id, name: 'site', value: site }).execute();
    const device = new ScriptedDevice({ id, key, directorKey, now, connection: { url, credential } });
    await device.join();
    return device;
  }

  async join(): Promise<void> {
    const { url, credential } = this.connection;
    const client = await connectAsync(url, {
      username: this.id,
      password: credential,
      clientId: this.id,
      reconnectPeriod: 0,
    });
    this.client = client;
    client.on('message', (_topic, payload) => {
      this.work = this.work.then(() => this.obey(payload));
    });
    await client.subscribeAsync(ordersTopic(this.id), { qos: 1 });
    await this.reportState();
  }

  async leave(): Promise<void> {
    await this.work;
    await this.client?.endAsync();
    this.client = undefined;
  }

  /** As if it had been installed before anybody watched. */
  async preinstall(release: Release): Promise<void> {
    this.running = release;
    this.history.push(release.version);
    await this.reportState();
  }

  private async obey(payload: Buffer): Promise<void> {
    const order = openDeployment(payload, { threshold: 1, keys: [publicKeyOf(this.directorKey)] });
    if (this.accepted && order.counter <= this.accepted.counter) return;
    this.orders.push(order);
    if (this.conduct === 'is-silent') return;
    this.accepted = { epoch: order.epoch, counter: order.counter };
    const { deploymentId, release } = order;
    await this.reportState({ state: 'fetching', deploymentId, release });
    if (this.conduct === 'falls-back') {
      const error = { code: 'SELF_TEST_FAILED', what: 'The golden vectors differ.', remedy: 'Publish again.' };
      this.lastOutcome = { deploymentId, release, outcome: 'fell-back', error };
    } else {
      if (this.conduct === 'commits' && this.running?.digest !== release.digest) {
        this.running = release;
        this.history.push(release.version);
      }
      this.lastOutcome = { deploymentId, release, outcome: 'committed' };
    }
    await this.reportState();
  }

  reportState(update: ReportBody<'state'>['models'][number]['update'] = { state: 'idle' }): Promise<void> {
    const { running, accepted, lastOutcome } = this;
    return this.report('state', {
      agentVersion: 'test',
      hardwareClass: HARDWARE,
      attributes: {},
      models: [
        {
          model: MODEL,
          update,
          ...(running
            ? { running: { release: running, loaded: running.digest, provider: { requested: ['cpu'], actual: 'cpu' } } }
            : {}),
          ...(accepted ? { accepted } : {}),
          ...(lastOutcome ? { lastOutcome } : {}),
        },
      ],
    });
  }

  /** One window of labelled inferences under what it runs. */
  async serve(labelled: number, correct: number): Promise<void> {
    if (!this.running) return;
    const counts = { requests: labelled, failures: 0, inferences: labelled, labelled: { count: labelled, correct } };
    await this.report('telemetry', { windowMs: 1000, models: [{ model: MODEL, release: this.running, ...counts }] });
  }

  /** Resolves when the broker has acknowledged it. */
  async report<Kind extends Report['kind']>(kind: Kind, body: ReportBody<Kind>): Promise<void> {
    this.sequence += 1;
    const report = { protocol: 1, kind, deviceId: this.id, sequence: this.sequence, at: this.now(), body } as Report;
    await this.client?.publishAsync(reportsTopic(this.id), signReport(report, bulkSigner(this.key)), { qos: 1 });
  }

  get clientForTests(): MqttClient {
    if (!this.client) throw new Error(`${this.id} is not connected.`);
    return this.client;
  }

  signed(report: Report): Buffer {
    return signReport(report, bulkSigner(this.key));
  }
}

export const request = (version: string, changes: Partial<RolloutRequest> = {}): RolloutRequest => ({
  model: MODEL,
  version: Version(version),
  selector: { all: true },
  stages: [
    { name: 'canary', devices: 2 },
    { name: 'half', share: 0.5 },
    { name: 'all', share: 1 },
  ],
  gate: {
    metric: 'accuracy',
    acceptableDrop: 0.05,
    unacceptableDrop: 0.2,
    alpha: 0.05,
    beta: 0.1,
    minSoakMs: 1000,
    timeoutMs: 3_600_000,
    failureShare: { acceptable: 0.1, unacceptable: 0.5 },
  },
  probation: { minMs: 0, minRequests: 0, maxMs: 1000, maxFailureShare: 0.5, maxCrashes: 1 },
  autoRevert: true,
  ...changes,
});

/** Looks again until it holds; each look lets the devices do a bit. Fails after many looks rather than after some time. */
export async function until(
  holds: () => Promise<boolean>,
  between: () => Promise<void>,
  maxLooks = 300,
): Promise<void> {
  for (let look = 0; look < maxLooks; look++) {
    if (await holds()) return;
    await between();
  }
  throw new Error('It did not come to hold.');
}
