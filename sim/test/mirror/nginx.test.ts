import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBody } from '@drover/agent/link';
import { systemClock } from '@drover/agent/host';
import { identityChannel, loadDeviceKey, loadIdentity } from '@drover/agent/identity';
import { DeviceId, digestHex, ModelName } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { openTestPublisher, type TestPublisher, type TestRelease } from '../../src/attacks/publisher.js';
import { startControlPlane, type ControlPlaneProcess } from '../../src/fleet/control-plane-process.js';
import { fakeHost } from '../../src/fleet/fake-host.js';
import { createClaimToken, rolloutByFailures } from '../../src/fleet/operator-requests.js';
import { startVirtualDevice, type VirtualDevice } from '../../src/fleet/virtual-device.js';
import { until } from '../../src/fleet/wait.js';
import { exportTrust, hasNginx, startNginx, type Nginx } from './nginx.js';

const MODEL = ModelName('pump-health');
const signal = new AbortController().signal;

describe.skipIf(!hasNginx)('a site with nginx as its mirror (skipped where nginx is not installed)', () => {
  let folder: string;
  let controlPlane: ControlPlaneProcess;
  let publisher: TestPublisher;
  let release: TestRelease;
  let mirror: Nginx;
  let token: string;
  const devices: VirtualDevice[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'drover-mirror-'));
    controlPlane = await startControlPlane({
      dataDir: join(folder, 'control-plane'),
      httpPort: 0,
      mqttPort: 0,
      environment: { DROVER_TLS_MODE: 'on', DROVER_TLS_NAMES: 'localhost' },
    });
    const { operator } = controlPlane;
    publisher = await openTestPublisher(operator, MODEL);
    release = await publisher.publish('1.0.0', { seed: 1 });
    ({ token } = await operator.send<{ token: string }>('POST', '/api/v1/tokens', { name: 'site-7', role: 'mirror' }));
    mirror = await startNginx(join(folder, 'nginx'), controlPlane, token);
  }, 60_000);
  afterAll(async () => {
    for (const device of devices) await device.close();
    await mirror.stop();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  async function startDevice(id: string): Promise<VirtualDevice> {
    const claimToken = await createClaimToken(controlPlane.operator);
    const device = await startVirtualDevice({
      deviceId: DeviceId(id),
      dataDir: join(folder, id),
      controlPlaneUrl: controlPlane.httpUrl,
      claimToken,
      pinnedRoot: publisher.pinnedRoot,
      hardwareClass: 'generic',
      attributes: {},
      telemetryIntervalMs: 60_000,
      clock: systemClock,
      host: fakeHost(seededRandom(1)),
      mirrors: [mirror.url],
    });
    devices.push(device);
    return device;
  }

  async function rollOut(device: VirtualDevice): Promise<void> {
    const order = rolloutByFailures({ model: MODEL, version: release.version, devices: [device.id] });
    await controlPlane.operator.send('POST', '/api/v1/rollouts', order);
    await until(
      () => device.status().models.some(({ running }) => running?.release.digest === release.digest) || undefined,
      {
        what: `${device.id} to run the release`,
        timeoutMs: 30_000,
        signal,
        state: () => JSON.stringify(device.status()),
      },
    );
    expect(await publisher.infer(device.endpoint())).toBe(release.answer);
  }

  /** As the device would ask, with its certificate and what it believes. */
  async function ask(id: string, url: string, headers: Record<string, string> = {}) {
    const dataDir = join(folder, id);
    const identity = await loadIdentity(dataDir);
    const channel = identityChannel({
      network: { proxy: { exceptions: [] } },
      identity: () => identity,
      deviceKey: await loadDeviceKey(dataDir),
      notBeforeMs: () => Date.now(),
    });
    try {
      const answer = await channel.fetch(url, { headers });
      return { status: answer.status, headers: answer.headers, bytes: await readBody(answer, 2 ** 24) };
    } finally {
      channel.reset();
    }
  }
  const fileOfModel = (): string => `/api/v1/device/blobs/${digestHex(release.file)}`;

  it('gives each device the release, and asks the control plane for it once', async () => {
    await rollOut(await startDevice('first'));
    const missed = mirror.log().filter((line) => line.includes('/blobs/') && line.includes('cache=MISS'));
    expect(missed.length).toBeGreaterThanOrEqual(3);
    expect(devices[0]?.status().mirrors).toMatchObject([{ url: mirror.url }]);
    expect(devices[0]?.status().mirrors[0]?.bytesServed).toBeGreaterThan(
      release.manifest.variants[0]?.model.bytes ?? 0,
    );
    expect(devices[0]?.status().lastProblems).toEqual([]);

    const before = mirror.log().length;
    await rollOut(await startDevice('second'));
    const lines = mirror.log().slice(before);
    expect(lines.filter((line) => line.includes('cache=HIT')).length).toBe(missed.length);
    expect(lines.filter((line) => line.includes('cache=MISS'))).toEqual([]);
    expect(lines.every((line) => line.includes('CN=second'))).toBe(true);
  }, 60_000);

  it('keeps ranges, tags and lengths as the control plane has them', async () => {
    const whole = await ask('first', `${mirror.url}${fileOfModel()}`);
    const direct = await ask('first', `${controlPlane.httpUrl}${fileOfModel()}`, { 'accept-encoding': 'identity' });
    const { bytes } = direct;
    expect(whole.bytes.equals(bytes)).toBe(true);
    for (const header of ['etag', 'content-length', 'cache-control'])
      expect([header, whole.headers.get(header)]).toEqual([header, direct.headers.get(header)]);
    const part = await ask('first', `${mirror.url}${fileOfModel()}`, { range: 'bytes=10-19' });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 10-19/${bytes.length}`]);
    expect(part.bytes.equals(bytes.subarray(10, 20))).toBe(true);
  });

  it('lets in enrolled devices alone, and passes nothing on but releases', async () => {
    const stranger = await new Promise<number | undefined>((resolve, reject) => {
      request(`${mirror.url}${fileOfModel()}`, { rejectUnauthorized: false, agent: false }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(stranger).toBe(400);
    for (const path of ['/api/v1/devices', '/api/v1/device/certificate', '/api/v1/tokens', '/healthz'])
      expect([path, (await ask('first', `${mirror.url}${path}`)).status]).toEqual([path, 404]);
  });

  it('has a credential that is worth no more than that', async () => {
    const statusOf = async (path: string) =>
      (await ask('first', `${controlPlane.httpUrl}${path}`, { authorization: `Bearer ${token}` })).status;
    expect(await statusOf(fileOfModel())).toBe(200);
    expect(await statusOf('/api/v1/devices')).toBe(403);
    expect(await statusOf('/api/v1/whoami')).toBe(403);
    expect(await statusOf('/api/v1/audit')).toBe(403);
  });

  it('turns a revoked device away once the list is exported anew', async () => {
    await controlPlane.operator.send('POST', '/api/v1/devices/second/revocation', { reason: 'stolen' });
    await exportTrust(controlPlane, join(folder, 'nginx', 'drover-mirror'));
    mirror.reload();
    await until(async () => (await ask('second', `${mirror.url}${fileOfModel()}`)).status === 400 || undefined, {
      what: 'the device to be turned away',
      timeoutMs: 10_000,
      signal,
    });
    expect((await ask('first', `${mirror.url}${fileOfModel()}`)).status).toBe(200);
  });

  it('goes on with what it has while the control plane is away', async () => {
    const timestamp = `${mirror.url}/api/v1/device/metadata/timestamp.json`;
    const before = await ask('first', timestamp);
    await devices.splice(0).reduce((closing, device) => closing.then(() => device.close()), Promise.resolve());
    await controlPlane.stop();
    expect((await ask('first', `${mirror.url}${fileOfModel()}`)).status).toBe(200);
    const after = await ask('first', timestamp);
    expect(after.status).toBe(200);
    expect(after.bytes.equals(before.bytes)).toBe(true);
  });
});
