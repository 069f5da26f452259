import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { systemClock } from '@drover/agent/host';
import { DeviceId, ModelName, newDeploymentId, type Digest, type Version } from '@drover/shared/ids';
import {
  deviceOfTopic,
  ordersTopic,
  reportsTopic,
  signDeployment,
  type Deployment,
  type IncidentBody,
  type RefusalBody,
  type TransitionBody,
} from '@drover/shared/protocol';
import { seededRandom } from '@drover/shared/statistics';
import { bulkSigner, parseKeyPair, type KeyPair } from '@drover/shared/trust';
import {
  createClaimToken,
  fakeHost,
  rolloutByFailures,
  startControlPlane,
  startVirtualDevice,
  until,
  type ControlPlaneProcess,
  type VirtualDevice,
} from '../fleet/index.js';
import { startHostileMirror, type HostileMirror } from './hostile-mirror.js';
import { startHostileProxy, type HostileProxy } from './hostile-proxy.js';
import { openTestPublisher, type TestPublisher, type TestRelease } from './publisher.js';

export const MODEL = ModelName('pump-health');
const HARDWARE_CLASS = 'generic';
const TIMEOUT_MS = 30_000;
const FINAL = new Set(['completed', 'reverted', 'aborted']);
const HOUR_MS = 3_600_000;
const PROBATION = { minMs: 200, minRequests: 0, maxMs: 5_000, maxFailureShare: 0.5, maxCrashes: 2 };

/** A report as an operator reads it. */
export interface SeenReport<Body> {
  readonly id: number;
  readonly body: Body;
}

/** A control plane and two agents on it, one of which is attacked. It serves the base release before and after each attack. */
export interface AttackWorld {
  readonly controlPlane: ControlPlaneProcess;
  readonly proxy: HostileProxy;
  /** Those of the victim's site, in the order in which it asks them. */
  readonly mirrors: readonly HostileMirror[];
  /** Metadata that the victim has seen, and that is not the newest any more. */
  readonly oldMetadata: ReadonlyMap<string, Uint8Array>;
  readonly publisher: TestPublisher;
  readonly victim: VirtualDevice;
  /** A device that the attacker has taken over: its identity and key are known. */
  readonly stolenDevice: { readonly id: DeviceId; readonly credential: string; readonly key: KeyPair };
  readonly base: TestRelease;
  /** An older release, which the victim ran once. */
  readonly older: TestRelease;
  readonly service: MqttClient;
  /** Orders to the victim, as they went over the wire. */
  readonly orders: readonly Buffer[];
  /** Reports of the victim, as they went over the wire. */
  readonly reports: readonly Buffer[];
  readonly directorKey: KeyPair;
  readonly signal: AbortSignal;
  forgeOrder(release: { readonly version: Version; readonly digest: Digest }, change?: Partial<Deployment>): Deployment;
  sendOrder(order: Deployment | Buffer, key?: KeyPair): Promise<void>;
  /** Ordered by an operator, as anybody would. */
  rollOut(version: string): Promise<void>;
  /** Hands the victim a bundle, as `drover-agent import` does. */
  bring(bundle: Uint8Array): Promise<void>;
  /** What the operator is told by the victim after this call. */
  watch(): Promise<{
    refusal(): Promise<RefusalBody>;
    failure(digest: Digest): Promise<string>;
    /** The code of the first incident whose code begins so. */
    incident(prefix: string): Promise<string>;
    audit(action: string): Promise<Record<string, unknown>>;
  }>;
  /** Moves the wall clock of the devices; zero is the true time again. */
  setClocks(aheadMs: number): void;
  until<Answer>(what: string, ask: () => Promise<Answer | undefined> | Answer | undefined): Promise<Answer>;
  recover(): Promise<void>;
  assertServesBase(): Promise<void>;
  close(): Promise<void>;
}

export async function openAttackWorld(signal: AbortSignal): Promise<AttackWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'drover-attacks-'));
  const closers: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    return await furnish(folder, closers, close, signal);
  } catch (error) {
    await close();
    throw error;
  }
}

async function furnish(
  folder: string,
  closers: (() => Promise<unknown>)[],
  close: () => Promise<void>,
  signal: AbortSignal,
): Promise<AttackWorld> {
  const controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
  closers.push(() => controlPlane.stop());
  const { operator } = controlPlane;
  const proxy = await startHostileProxy(controlPlane.httpUrl);
  closers.push(() => proxy.close());
  const mirrors = [await startHostileMirror(), await startHostileMirror(), await startHostileMirror()];
  for (const mirror of mirrors) closers.push(() => mirror.close());
  const publisher = await openTestPublisher(operator, MODEL);
  const older = await publisher.publish('0.9.0', { seed: 9 });
  const base = await publisher.publish('1.0.0', { seed: 1 });

  const service = await connectAsync(controlPlane.mqttUrl, {
    username: 'service',
    password: controlPlane.servicePassword,
    clientId: 'attacker',
    protocolVersion: 4,
  });
  closers.push(() => service.endAsync());
  const victimId = DeviceId('victim');
  const orders: Buffer[] = [];
  const reports: Buffer[] = [];
  service.on('message', (topic, payload) => {
    if (deviceOfTopic(topic, 'orders') === victimId) orders.push(payload);
    if (deviceOfTopic(topic, 'reports') === victimId) reports.push(payload);
  });
  await service.subscribeAsync([ordersTopic(victimId), reportsTopic(victimId)], { qos: 1 });

  const claimToken = await createClaimToken(operator, { uses: 2 });
  let clockAheadMs = 0;
  const startDevice = async (deviceId: DeviceId, sites: readonly HostileMirror[] = []): Promise<VirtualDevice> => {
    const device = await startVirtualDevice({
      deviceId,
      dataDir: join(folder, deviceId),
      controlPlaneUrl: proxy.url,
      claimToken,
      pinnedRoot: publisher.pinnedRoot,
      hardwareClass: HARDWARE_CLASS,
      attributes: { site: 'here' },
      telemetryIntervalMs: 60_000,
      clock: { ...systemClock, now: () => systemClock.now() + clockAheadMs },
      host: fakeHost(seededRandom(1)),
      mirrors: sites.map(({ url }) => url),
    });
    closers.push(() => device.close());
    return device;
  };
  const victim = await startDevice(victimId, mirrors);
  const stolen = await startDevice(DeviceId('stolen'));
  const stolenFile = async (name: string) =>
    JSON.parse(await readFile(join(folder, stolen.id, name), 'utf8')) as Record<string, unknown>;
  const identity = (await stolenFile('identity.json')) as { grant: { credential: string } };
  const directorKey = parseKeyPair(JSON.parse(await readFile(join(controlPlane.dataDir, 'director.key'), 'utf8')));

  const oldMetadata = new Map<string, Uint8Array>();
  let counter = 1_000;
  let rollout: string | undefined;
  const waitUntil: AttackWorld['until'] = (what, ask) => until(ask, { what, timeoutMs: TIMEOUT_MS, signal });
  const newest = async (kind: string): Promise<number> => (await reportsAfter<unknown>(kind, 0)).at(-1)?.id ?? 0;
  const reportsAfter = async <Body>(kind: string, after: number): Promise<SeenReport<Body>[]> => {
    const found: SeenReport<Body>[] = [];
    for (let from: number | undefined = after; from !== undefined;) {
      const page: { items: SeenReport<Body>[]; next?: number } = await operator.get(
        `/api/v1/reports?kind=${kind}&device=${victimId}&after=${from}`,
      );
      found.push(...page.items);
      from = page.next;
    }
    return found;
  };
  const running = async (): Promise<string | undefined> => {
    const { items } = await operator.get<{
      items: { id: string; models: { model: string; running?: { release: { digest: string } } }[] }[];
    }>('/api/v1/devices');
    return items.find(({ id }) => id === victimId)?.models.find(({ model }) => model === MODEL)?.running?.release
      .digest;
  };
  const isIdle = (): boolean =>
    victim.status().models.every(({ model, update }) => model !== MODEL || update.state === 'idle');

  const rollOut = async (version: string): Promise<void> => {
    const order = rolloutByFailures({ model: MODEL, version, devices: [victimId], probation: PROBATION });
    const { id } = await operator.send<{ id: string }>('POST', '/api/v1/rollouts', order);
    rollout = id;
  };
  /** One device is in one rollout at a time. */
  const endRollout = async (): Promise<void> => {
    if (rollout === undefined) return;
    const path = `/api/v1/rollouts/${rollout}`;
    const isOver = async () => FINAL.has((await operator.get<{ state: string }>(path)).state);
    if (!(await isOver())) {
      try {
        await operator.send('POST', `${path}/abort`, { revert: false, reason: 'the attack is over' });
      } catch (error) {
        // It may have ended by itself in between, and then there is nothing to abort.
        if (!(await isOver())) throw error;
      }
    }
    rollout = undefined;
  };

  const world: AttackWorld = {
    controlPlane,
    proxy,
    mirrors,
    oldMetadata,
    publisher,
    victim,
    stolenDevice: {
      id: stolen.id,
      credential: identity.grant.credential,
      key: parseKeyPair(await stolenFile('device-key.json')),
    },
    base,
    older,
    service,
    orders,
    reports,
    directorKey,
    signal,
    forgeOrder: ({ version, digest }, change = {}) => {
      // Above every counter that the director can have given since.
      counter += 1_000;
      const now = Date.now();
      return {
        protocol: 1,
        kind: 'deployment',
        deploymentId: newDeploymentId(),
        deviceId: victimId,
        model: MODEL,
        release: { version, digest },
        hardwareClass: HARDWARE_CLASS,
        epoch: 1,
        counter,
        nonce: randomBytes(16).toString('hex'),
        issuedAt: now,
        expiresAt: now + HOUR_MS,
        probation: PROBATION,
        ...change,
      };
    },
    async sendOrder(order, key = directorKey) {
      const bytes = Buffer.isBuffer(order) ? order : signDeployment(order, bulkSigner(key));
      await service.publishAsync(ordersTopic(victimId), bytes, { qos: 1 });
    },
    rollOut,
    async bring(bundle) {
      const file = join(folder, victimId, 'imports', randomBytes(8).toString('hex'));
      await writeFile(`${file}.tmp`, bundle);
      await rename(`${file}.tmp`, `${file}.bundle`);
    },
    async watch() {
      const after = {
        refusal: await newest('refusal'),
        incident: await newest('incident'),
        transition: await newest('transition'),
      };
      const sinceMs = Date.now();
      return {
        refusal: () =>
          waitUntil(
            'a refusal report',
            async () => (await reportsAfter<RefusalBody>('refusal', after.refusal))[0]?.body,
          ),
        failure: (digest) =>
          waitUntil(
            'the report of a failed update',
            async () =>
              (await reportsAfter<TransitionBody>('transition', after.transition)).find(
                ({ body }) => body.release.digest === digest && body.error !== undefined,
              )?.body.error?.code,
          ),
        incident: (prefix) =>
          waitUntil(
            `an incident ${prefix}…`,
            async () =>
              (await reportsAfter<IncidentBody>('incident', after.incident)).find(({ body }) =>
                body.error.code.startsWith(prefix),
              )?.body.error.code,
          ),
        audit: (action) =>
          waitUntil(`${action} in the audit log`, async () => {
            const { items } = await operator.get<{
              items: { action: string; at: number; detail: Record<string, unknown> }[];
            }>(`/api/v1/audit?limit=1000`);
            return items.find((entry) => entry.action === action && entry.at >= sinceMs)?.detail;
          }),
      };
    },
    setClocks(aheadMs) {
      clockAheadMs = aheadMs;
    },
    until: waitUntil,
    async recover() {
      proxy.turn(/^/, undefined);
      for (const mirror of mirrors) mirror.turn(undefined);
      world.setClocks(0);
      await endRollout();
      if (isIdle()) return;
      await world.sendOrder(world.forgeOrder(base));
      await waitUntil('the victim to be idle', () => (isIdle() ? true : undefined));
    },
    async assertServesBase() {
      const answer = await publisher.infer(victim.endpoint());
      if (answer !== base.answer)
        throw new Error(`The device answers ${answer}, not as ${base.version}: ${base.answer}.`);
      await waitUntil('the control plane to see the base release', async () =>
        (await running()) === base.digest ? true : undefined,
      );
    },
    close,
  };
  for (const release of [older, base]) {
    await rollOut(release.version);
    await waitUntil(`${release.version} to be committed`, () =>
      victim
        .status()
        .models.some((model) => model.running?.release.digest === release.digest && model.update.state === 'idle')
        ? true
        : undefined,
    );
    await endRollout();
  }
  await world.assertServesBase();
  for (const name of ['1.root.json', 'timestamp.json'])
    oldMetadata.set(name, Buffer.from(JSON.stringify(await operator.get(`/api/v1/repository/metadata/${name}`))));
  return world;
}
