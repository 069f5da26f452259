import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '@drover/agent/host';
import { identityChannel, loadDeviceKey, loadIdentity } from '@drover/agent/identity';
import { httpReleaseSource } from '@drover/agent/update';
import { ordersTopic } from '@drover/shared/protocol';
import { openConnectProxy, type ConnectProxy } from '../../src/faults/index.js';
import { until } from '../../src/fleet/wait.js';
import { createPlant, type Plant } from './plant.js';

const signal = new AbortController().signal;
const PASSWORD = 'a-password-that-must-not-be-logged';
const portOf = (url: string) => Number(new URL(url).port);

let plant: Plant;
let proxy: ConnectProxy;
beforeAll(async () => {
  plant = await createPlant();
  proxy = await openConnectProxy({
    allowedPorts: [portOf(plant.controlPlane.httpUrl)],
    user: 'plant',
    password: PASSWORD,
  });
});
afterAll(async () => {
  await plant.close();
  await proxy.close();
});

const connected = (id: string) =>
  until(async () => ((await plant.shown(id)).connected ? true : undefined), {
    what: `${id} to be connected`,
    timeoutMs: 20_000,
    signal,
  });
const proxyAt = (user: string, password: string) => ({
  url: `http://${user}:${encodeURIComponent(password)}@127.0.0.1:${proxy.port}`,
  exceptions: [],
});

describe('when the control plane speaks TLS', () => {
  it('a device enrols by the pin in its claim token, and connects by its certificate', async () => {
    const device = await plant.device('alpha');
    await connected('alpha');
    const where = `"broker":"${plant.controlPlane.mqttUrl}"`;
    await until(() => (plant.log.some((line) => line.includes(where)) ? true : undefined), {
      what: 'its word of it',
      timeoutMs: 20_000,
      signal,
    });
    expect(device.status().connected).toBe(true);
  });

  it('a device that was sent to another control plane tells it nothing', async () => {
    const other = await createPlant();
    try {
      const claimToken = await plant.claimToken();
      await expect(other.device('beta', { claimToken })).rejects.toMatchObject({
        code: 'ENROLMENT_UNREACHABLE',
        message: expect.stringContaining('unknown CA') as unknown,
      });
    } finally {
      await other.close();
    }
  });

  it('a device whose clock says 1970 enrols, connects and reports', async () => {
    const at1970: Clock = { ...systemClock, now: () => 60_000 };
    await plant.device('clockless', { clock: at1970 });
    await connected('clockless');
    const state = await until(async () => (await plant.shown('clockless')).models, {
      what: 'its state',
      timeoutMs: 20_000,
      signal,
    });
    expect(state).toEqual([]);
  });

  it('a revoked device is cut off while it is connected, and says why', async () => {
    const device = await plant.device('stolen');
    await connected('stolen');
    await plant.controlPlane.operator.send('POST', '/api/v1/devices/stolen/revocation', { reason: 'test' });
    const problem = await until(() => device.status().linkProblem, { what: 'its end', timeoutMs: 20_000, signal });
    expect(problem.code).toMatch(/^LINK_(LOST|REFUSED)$/);
    await until(() => (plant.log.some((line) => line.includes('IDENTITY_REVOKED')) ? true : undefined), {
      what: 'the reason',
      timeoutMs: 90_000,
      signal,
    });
    expect(device.status().connected).toBe(false);
  });
});

describe('when a plant lets out one port alone, through a proxy that asks who is there', () => {
  it('everything works: enrolment, orders, reports and downloads', async () => {
    const before = proxy.attempts.length;
    await plant.device('behind-proxy', { proxy: proxyAt('plant', PASSWORD) });
    await connected('behind-proxy');
    const attempts = proxy.attempts.slice(before);
    const api = `CONNECT 127.0.0.1:${portOf(plant.controlPlane.httpUrl)}`;
    const broker = `CONNECT 127.0.0.1:${portOf(plant.controlPlane.mqttUrl)}`;
    expect(attempts[0]).toEqual({ what: api, status: 200 });
    // The broker's own port is closed, so that the device takes the WebSocket on the port of the API.
    expect(attempts).toContainEqual({ what: broker, status: 403 });
    expect(attempts.filter(({ what, status }) => what !== api && status === 200)).toEqual([]);

    // An order reaches it, and its answer comes back: this one is none, so it is refused.
    const tool = await connectAsync(plant.controlPlane.mqttUrl, {
      ca: readFileSync(join(plant.controlPlane.dataDir, 'certificate-authority', '1.crt'), 'utf8'),
      clientId: 'tool',
      username: 'service',
      password: plant.controlPlane.servicePassword,
    });
    const { deviceId } = (await loadIdentity(join(plant.folder, 'behind-proxy'))).grant;
    await tool.publishAsync(ordersTopic(deviceId), 'no order', { qos: 1 });
    await tool.endAsync();
    await until(
      async () => {
        const { items } = await plant.controlPlane.operator.get<{ items: unknown[] }>(
          '/api/v1/reports?kind=refusal&device=behind-proxy',
        );
        return items.length > 0 ? true : undefined;
      },
      { what: 'the refusal', timeoutMs: 20_000, signal },
    );

    const bytes = randomBytes(3_000_000);
    const hex = await plant.putBlob(bytes);
    const dataDir = join(plant.folder, 'behind-proxy');
    const identity = await loadIdentity(dataDir);
    const channel = identityChannel({
      network: { proxy: proxyAt('plant', PASSWORD) },
      identity: () => identity,
      deviceKey: await loadDeviceKey(dataDir),
      notBeforeMs: () => Date.now(),
    });
    const source = httpReleaseSource({
      controlPlaneUrl: identity.controlPlaneUrl,
      deviceId,
      fetch: channel.fetch,
    });
    const relayedBefore = proxy.relayedBytes();
    const parts: Uint8Array[] = [];
    for await (const part of source.blob(`sha256:${hex}` as never, 1_000_000, signal)) parts.push(part);
    channel.reset();
    expect(Buffer.concat(parts).equals(bytes.subarray(1_000_000))).toBe(true);
    expect(proxy.relayedBytes() - relayedBefore).toBeGreaterThan(2_000_000);
  });

  it('a wrong password is told as such, and neither password is ever logged', async () => {
    await expect(plant.device('locked-out', { proxy: proxyAt('plant', 'wrong-password') })).rejects.toMatchObject({
      code: 'ENROLMENT_UNREACHABLE',
      message: expect.stringContaining('407') as unknown,
    });
    expect(proxy.attempts.at(-1)?.status).toBe(407);
    const everything = plant.log.join('\n');
    expect(everything).toContain('LINK_PROXY_REFUSED');
    expect(everything).not.toContain(PASSWORD);
    expect(everything).not.toContain('wrong-password');
  });
});
