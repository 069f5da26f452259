import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@drover/agent/host';
import { DeviceId, ModelName } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { openTestPublisher, type TestPublisher } from '../../src/attacks/publisher.js';
import {
  createClaimToken,
  fakeHost,
  rolloutByFailures,
  startControlPlane,
  startVirtualDevice,
  until,
  type ControlPlaneProcess,
  type Operator,
  type VirtualDevice,
} from '../../src/fleet/index.js';
import { runDrover } from '../drover-command.js';

export const MODEL = ModelName('pump-health');
const TIMEOUT_MS = 90_000;
const HOUR_MS = 3_600_000;

interface ShownDevice {
  readonly id: string;
  readonly connected: boolean;
  readonly models?: readonly {
    readonly model: string;
    readonly running?: { readonly release: { readonly version: string } };
    readonly accepted?: { readonly epoch: number; readonly counter: number };
  }[];
}
export interface AuditEntry {
  readonly action: string;
  readonly subject: string;
  readonly detail: Record<string, unknown>;
}

/** A control plane with TLS that can be lost and restored on the addresses that it had, and a fleet that goes on meanwhile. */
export interface RecoveryWorld {
  readonly folder: string;
  readonly controlPlane: () => ControlPlaneProcess;
  readonly publisher: TestPublisher;
  /** A key file of the holder of root, which the control plane never sees. */
  readonly rootKey: string;
  start(id: string): Promise<VirtualDevice>;
  stop(id: string): Promise<void>;
  /** By their own word: what each device runs. */
  running(): Record<string, string>;
  /** The same as the control plane shows it. */
  shown(): Promise<Record<string, string>>;
  /** What happened on the devices that somebody would have to look at. */
  troubles(): string[];
  /** A rollout that passes its gate. */
  rollOut(version: string, ids: readonly string[]): Promise<void>;
  /** One that is sent back to `before` as soon as its device runs the version. */
  rollOutAndRevert(version: string, id: string, before: string): Promise<void>;
  audit(action: string): Promise<AuditEntry[]>;
  drover(...args: string[]): Promise<string>;
  /** The control plane is gone, with all that it had. */
  destroy(): Promise<void>;
  /** From a backup; further arguments are for the start. */
  restore(backup: string, args?: readonly string[]): Promise<void>;
  settled(ids: readonly string[]): Promise<void>;
  until(what: string, holds: () => Promise<boolean> | boolean): Promise<void>;
  close(): Promise<void>;
}

export async function openRecoveryWorld(signal: AbortSignal): Promise<RecoveryWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-recovery-'));
  const dataDir = join(folder, 'control-plane');
  const environment = { DROVER_TLS_MODE: 'on' };
  let controlPlane = await startControlPlane({ dataDir, httpPort: 0, mqttPort: 0, environment });
  const portOf = (url: string) => Number(new URL(url).port);
  const ports = { httpPort: portOf(controlPlane.httpUrl), mqttPort: portOf(controlPlane.mqttUrl) };
  // Who publishes means the address, whichever process answers there.
  const presentOperator: Operator = {
    url: controlPlane.httpUrl,
    get: (path) => controlPlane.operator.get(path),
    send: (method, path, body) => controlPlane.operator.send(method, path, body),
    putBlob: (hex, bytes) => controlPlane.operator.putBlob(hex, bytes),
  };
  const publisher = await openTestPublisher(presentOperator, MODEL);
  const [owner] = publisher.owners;
  const rootKey = join(folder, 'root.key');
  writeFileSync(rootKey, JSON.stringify(owner));
  const devices = new Map<string, VirtualDevice>();
  const enrolled = new Set<string>();
  const log: { readonly id: string; readonly line: string }[] = [];
  const wait: RecoveryWorld['until'] = async (what, holds) => {
    const state = () =>
      JSON.stringify({
        running: world.running(),
        troubles: world.troubles(),
        log: log.slice(-5),
        plane: controlPlane.lastLines(),
      });
    await until(async () => ((await holds()) ? true : undefined), { what, timeoutMs: TIMEOUT_MS, signal, state });
  };
  const shownDevices = async (): Promise<readonly ShownDevice[]> =>
    (await controlPlane.operator.get<{ items: ShownDevice[] }>('/api/v1/devices')).items;
  const versionOf = (models: ShownDevice['models']) =>
    models?.find(({ model }) => model === MODEL)?.running?.release.version ?? 'nothing';
  const create = async (version: string, ids: readonly string[], minSoakMs: number): Promise<string> => {
    const order = rolloutByFailures({ model: MODEL, version, devices: ids, minSoakMs, timeoutMs: 2 * HOUR_MS });
    const { id } = await controlPlane.operator.send<{ id: string }>('POST', '/api/v1/rollouts', order);
    return id;
  };

  const world: RecoveryWorld = {
    folder,
    publisher,
    rootKey,
    controlPlane: () => controlPlane,
    async start(id) {
      const claimToken = enrolled.has(id) ? undefined : await createClaimToken(controlPlane.operator);
      const device = await startVirtualDevice({
        deviceId: DeviceId(id),
        dataDir: join(folder, id),
        controlPlaneUrl: controlPlane.httpUrl,
        claimToken,
        pinnedRoot: publisher.pinnedRoot,
        hardwareClass: 'generic',
        attributes: { line: `line of ${id}` },
        telemetryIntervalMs: 60_000,
        clock: systemClock,
        host: fakeHost(seededRandom(1)),
        onLog: (line) => log.push({ id, line }),
      });
      enrolled.add(id);
      devices.set(id, device);
      return device;
    },
    async stop(id) {
      await devices.get(id)?.close();
      devices.delete(id);
    },
    running: () => Object.fromEntries([...devices].map(([id, device]) => [id, versionOf(device.status().models)])),
    shown: async () => Object.fromEntries((await shownDevices()).map(({ id, models }) => [id, versionOf(models)])),
    troubles: () => log.filter(({ line }) => /"(refusal|incident)"/.test(line)).map(({ id, line }) => `${id}: ${line}`),
    async rollOut(version, ids) {
      const rollout = await create(version, ids, 0);
      await wait(`${version} on ${ids.join(', ')}`, async () => {
        const { state } = await controlPlane.operator.get<{ state: string }>(`/api/v1/rollouts/${rollout}`);
        return state === 'completed';
      });
    },
    async rollOutAndRevert(version, id, before) {
      const rollout = await create(version, [id], HOUR_MS);
      const runs = (wanted: string) => wait(`${wanted} on ${id}`, async () => (await world.shown())[id] === wanted);
      await runs(version);
      await controlPlane.operator.send('POST', `/api/v1/rollouts/${rollout}/abort`, { revert: true, reason: 'test' });
      await runs(before);
    },
    async audit(action) {
      const { items } = await controlPlane.operator.get<{ items: AuditEntry[] }>('/api/v1/audit?limit=1000');
      return items.filter((entry) => entry.action === action);
    },
    drover(...args) {
      return runDrover(args, { environment: { HOME: folder, XDG_CONFIG_HOME: join(folder, 'config') } });
    },
    async destroy() {
      await controlPlane.kill();
      rmSync(dataDir, { recursive: true });
    },
    async restore(backup, args = []) {
      await world.drover('restore', backup, '--data-dir', dataDir);
      controlPlane = await startControlPlane({ dataDir, ...ports, environment, args });
    },
    async settled(ids) {
      await wait(`${ids.join(', ')} to be back`, async () => {
        const shown = await shownDevices();
        return ids.every((id) => shown.find((device) => device.id === id)?.connected === true);
      });
    },
    until: wait,
    async close() {
      for (const device of devices.values()) await device.close();
      await controlPlane.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return world;
}
