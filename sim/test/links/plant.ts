import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '@drover/agent/host';
import type { DeviceId } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { RepositorySimulator } from '@drover/shared/trust/tuf/simulator';
import type { AgentConfig } from '@drover/agent/config';
import { startControlPlane, type ControlPlaneProcess } from '../../src/fleet/control-plane-process.js';
import { fakeHost } from '../../src/fleet/fake-host.js';
import { createClaimToken } from '../../src/fleet/operator-requests.js';
import { startVirtualDevice, type VirtualDevice } from '../../src/fleet/virtual-device.js';

/** A control plane that speaks TLS alone, with its own authority, and devices that reach it as a plant lets them. */
export interface Plant {
  readonly controlPlane: ControlPlaneProcess;
  readonly folder: string;
  claimToken(): Promise<string>;
  device(id: string, options?: PlantDeviceOptions): Promise<VirtualDevice>;
  /** One that was closed, with what its disk holds. */
  restart(id: string): Promise<VirtualDevice>;
  /** Lines of the log of every device. */
  readonly log: string[];
  /** What the API says of a device. */
  shown(id: string): Promise<{ connected: boolean; agentVersion: string; models?: unknown[] }>;
  putBlob(bytes: Uint8Array): Promise<string>;
  close(): Promise<void>;
}

export interface PlantDeviceOptions {
  readonly proxy?: AgentConfig['proxy'];
  readonly clock?: Clock;
  readonly claimToken?: string;
}

export async function createPlant(environment: Record<string, string> = {}): Promise<Plant> {
  const folder = mkdtempSync(join(tmpdir(), 'drover-plant-'));
  const controlPlane = await startControlPlane({
    dataDir: join(folder, 'control-plane'),
    httpPort: 0,
    mqttPort: 0,
    environment: { DROVER_TLS_MODE: 'on', ...environment },
  });
  const devices = new Map<string, VirtualDevice>();
  const log: string[] = [];
  async function start(
    id: string,
    claimToken: string | undefined,
    { proxy, clock = systemClock }: PlantDeviceOptions = {},
  ): Promise<VirtualDevice> {
    const device = await startVirtualDevice({
      deviceId: id as DeviceId,
      dataDir: join(folder, id),
      controlPlaneUrl: controlPlane.httpUrl,
      claimToken,
      pinnedRoot: new RepositorySimulator({ nowMs: Date.now() }).pinnedRoot,
      hardwareClass: 'generic',
      attributes: {},
      telemetryIntervalMs: 60_000,
      clock,
      host: fakeHost(seededRandom(1)),
      ...(proxy ? { proxy } : {}),
      onLog: (line) => log.push(line),
    });
    devices.set(id, device);
    return device;
  }
  const plant: Plant = {
    controlPlane,
    folder,
    log,
    claimToken: () => createClaimToken(controlPlane.operator, { attributes: { site: 'plant' } }),
    device: async (id, options = {}) => start(id, options.claimToken ?? (await plant.claimToken()), options),
    restart: (id) => start(id, undefined),
    shown: (id) => controlPlane.operator.get(`/api/v1/devices/${id}`),
    async putBlob(bytes) {
      const hex = createHash('sha256').update(bytes).digest('hex');
      await controlPlane.operator.putBlob(hex, bytes);
      return hex;
    },
    async close() {
      for (const device of devices.values()) await device.close();
      await controlPlane.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return plant;
}
