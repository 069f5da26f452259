import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '@drover/agent/cli';
import { systemClock } from '@drover/agent/host';
import { DeviceId, ModelName } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { openTestPublisher, type TestPublisher, type TestRelease } from '../../src/attacks/publisher.js';
import { startControlPlane, type ControlPlaneProcess } from '../../src/fleet/control-plane-process.js';
import { fakeHost } from '../../src/fleet/fake-host.js';
import { createClaimToken } from '../../src/fleet/operator-requests.js';
import { startVirtualDevice, type VirtualDevice } from '../../src/fleet/virtual-device.js';
import { until } from '../../src/fleet/wait.js';
import { administratorOf, runDrover } from '../drover-command.js';

const MODEL = ModelName('pump-health');
const DEVICE = DeviceId('pump-7');
const signal = new AbortController().signal;

describe('a device that never saw the network since it enrolled', () => {
  let folder: string;
  let controlPlane: ControlPlaneProcess;
  let publisher: TestPublisher;
  let release: TestRelease;
  let device: VirtualDevice | undefined;
  let bundle: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'drover-usb-'));
    bundle = join(folder, 'stick', 'pump-health-1.0.0.bundle');
    mkdirSync(join(folder, 'stick'));
    controlPlane = await startControlPlane({ dataDir: join(folder, 'control-plane'), httpPort: 0, mqttPort: 0 });
    publisher = await openTestPublisher(controlPlane.operator, MODEL);
    release = await publisher.publish('1.0.0', { seed: 1 });
    const claimToken = await createClaimToken(controlPlane.operator, { attributes: { site: 'mine' } });
    await (await startDevice(claimToken)).close();
    device = undefined;
  }, 60_000);
  afterAll(async () => {
    await device?.close();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  async function startDevice(claimToken?: string): Promise<VirtualDevice> {
    device = await startVirtualDevice({
      deviceId: DEVICE,
      dataDir: join(folder, DEVICE),
      controlPlaneUrl: controlPlane.httpUrl,
      claimToken,
      pinnedRoot: publisher.pinnedRoot,
      hardwareClass: 'generic',
      attributes: { site: 'mine' },
      telemetryIntervalMs: 60_000,
      clock: systemClock,
      host: fakeHost(seededRandom(1)),
    });
    return device;
  }

  /** As an operator types it. */
  const drover = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
    runDrover(['--json', ...args], { environment: administratorOf(controlPlane) }).then(
      (out) => ({ code: 0, out, err: '' }),
      (error: unknown) => {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { code, out: stdout, err: stderr };
      },
    );
  const onDevice = async (...argv: string[]): Promise<{ code: number; out: string }> => {
    let out = '';
    const code = await runCommand({
      argv: ['node', 'drover-agent', ...argv, '--data-dir', join(folder, DEVICE)],
      environment: {},
      stdout: (text) => void (out += text),
      stderr: () => undefined,
      untilStopped: () => new Promise(() => undefined),
    });
    return { code, out };
  };

  it('gets no order by hand that no rollout has given', async () => {
    const { code, out } = await drover('bundle', 'export', 'pump-health@1.0.0', '--out', bundle, '--device', DEVICE);
    expect([code, (JSON.parse(out) as { error: { code: string } }).error.code]).toEqual([1, 'CLI_ORDERS_WITHHELD']);
    expect(existsSync(bundle)).toBe(false);
  }, 30_000);

  it('runs what an operator exported, and says so once there is a network', async () => {
    const probation = join(folder, 'probation.json');
    writeFileSync(probation, JSON.stringify({ minMs: 100, minRequests: 0, maxMs: 5_000 }));
    const created = await drover(
      ...[
        'rollout',
        'create',
        'pump-health@1.0.0',
        '--device',
        DEVICE,
        '--stages',
        'all:100%',
        '--judge',
        'failures',
        '--probation',
        probation,
      ],
    );
    const { id } = JSON.parse(created.out) as { id: string };
    await until(
      async () =>
        (await controlPlane.operator.get<{ devices: { ordered: number } }>(`/api/v1/rollouts/${id}`)).devices
          .ordered === 1 || undefined,
      { what: 'the order', timeoutMs: 20_000, signal },
    );
    const exported = await drover('bundle', 'export', 'pump-health@1.0.0', '--out', bundle, '--selector', 'site=mine');
    expect(exported.err).toBe('');
    const said = JSON.parse(exported.out) as Record<string, unknown>;
    expect(said).toMatchObject({ devices: [DEVICE], withheld: [], release: 'pump-health@1.0.0' });
    expect(said['digest']).toMatch(/^sha256:/);
    expect(Number(said['metadataUntil'])).toBeGreaterThan(Date.now());
    expect(Number(said['ordersUntil'])).toBeGreaterThan(Date.now() + 2 * 86_400_000);
    const again = await drover('bundle', 'export', 'pump-health@1.0.0', '--out', bundle);
    expect((JSON.parse(again.out) as { error: { code: string } }).error.code).toBe('CLI_FILE_EXISTS');

    const { httpUrl, mqttUrl } = controlPlane;
    await controlPlane.stop();
    const isolated = await startDevice();
    expect((await onDevice('import', bundle)).code).toBe(0);
    await until(
      () =>
        isolated
          .status()
          .models.some(
            ({ running, update }) => running?.release.digest === release.digest && update.state === 'idle',
          ) || undefined,
      { what: 'the release to run', timeoutMs: 60_000, signal, state: () => JSON.stringify(isolated.status()) },
    );
    expect(await publisher.infer(isolated.endpoint())).toBe(release.answer);
    expect(isolated.status().connected).toBe(false);

    controlPlane = await startControlPlane({
      dataDir: join(folder, 'control-plane'),
      httpPort: Number(new URL(httpUrl).port),
      mqttPort: Number(new URL(mqttUrl).port),
    });
    await until(
      async () => {
        const { models } = await controlPlane.operator.get<{
          models?: { running?: { release: { digest: string } }; lastOutcome?: { outcome: string } }[];
        }>(`/api/v1/devices/${DEVICE}`);
        return (
          models?.some(
            ({ running, lastOutcome }) =>
              running?.release.digest === release.digest && lastOutcome?.outcome === 'committed',
          ) || undefined
        );
      },
      { what: 'its report', timeoutMs: 60_000, signal },
    );
    const after = await drover('bundle', 'export', 'pump-health@1.0.0', '--out', `${bundle}.2`, '--device', DEVICE);
    expect(JSON.parse(after.out)).toMatchObject({ error: { code: 'CLI_ORDERS_WITHHELD' } });
  }, 120_000);
});
