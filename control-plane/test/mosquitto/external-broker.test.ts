import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { ordersTopic, reportsTopic, signReport, type Report } from '@drover/shared/protocol';
import { bulkSigner } from '@drover/shared/trust';
import { connectBroker, type BrokerPort, type ExternalBrokerOptions } from '../../src/broker/index.js';
import { createSecureWorld, shownBy, type Enrolled, type SecureWorld } from '../devices/secure-world.js';
import { freePort, MOSQUITTO, prepareMosquitto, type Mosquitto } from './mosquitto.js';

const WAIT = { timeout: 15_000, interval: 100 };

// Without Mosquitto there is nothing to test; .ci/run installs it.
describe.skipIf(MOSQUITTO === undefined)('a control plane at a stock Mosquitto', { timeout: 60_000 }, () => {
  let world: SecureWorld;
  let mosquitto: Mosquitto;
  const clients: MqttClient[] = [];
  beforeAll(async () => {
    const port = await freePort();
    world = await createSecureWorld({ DROVER_BROKER_URL: `mqtts://127.0.0.1:${port}` });
    mosquitto = await prepareMosquitto(world, port);
    await mosquitto.start();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
  });
  afterAll(async () => {
    await world.close();
    await mosquitto.remove();
  });

  const connect = async (device: Enrolled): Promise<MqttClient> => {
    const client = await connectAsync(`mqtts://127.0.0.1:${mosquitto.port}`, {
      ca: world.ca(),
      reconnectPeriod: 0,
      protocolVersion: 4,
      clientId: device.id,
      ...shownBy(device),
    });
    client.on('error', () => undefined);
    clients.push(client);
    return client;
  };
  const shown = async (id: string) =>
    (await world.call(`/devices/${id}`, { token: true })).body as { connected: boolean; models: unknown[] };
  let sequence = 0;
  const incident = (device: Enrolled): Buffer => {
    sequence += 1;
    const report: Report = {
      protocol: 1,
      kind: 'incident',
      deviceId: device.id,
      sequence,
      at: sequence,
      body: { error: { code: 'TEST', what: `number ${sequence}`, remedy: 'none' } },
    };
    return signReport(report, bulkSigner(device.key));
  };
  const stored = async (id: string): Promise<number[]> => {
    const { body } = await world.call(`/reports?kind=incident&device=${id}`, { token: true });
    return (body as { items: { sequence: number }[] }).items.map((each) => each.sequence);
  };

  it('tells devices to connect there, sees them come and go, and takes their signed reports', async () => {
    const alpha = await world.enrol('alpha');
    expect(alpha.grant.brokerUrl).toBe(`mqtts://127.0.0.1:${mosquitto.port}`);
    expect(alpha.grant.websocketPath).toBeUndefined();
    expect(alpha.grant.credential).toBeUndefined();
    const client = await connect(alpha);
    // The control plane may still be on its way there: before its first connection nobody keeps anything for it.
    await expect
      .poll(async () => {
        await client.publishAsync(reportsTopic(alpha.id), incident(alpha), { qos: 1 });
        return (await stored('alpha')).length > 0;
      }, WAIT)
      .toBe(true);
    await expect.poll(async () => (await shown('alpha')).connected, WAIT).toBe(true);
    await client.endAsync();
    await expect.poll(async () => (await shown('alpha')).connected, WAIT).toBe(false);
    await connect(alpha);
    await expect.poll(async () => (await shown('alpha')).connected, WAIT).toBe(true);
  });

  it('believes no report that another signed', async () => {
    const beta = await world.enrol('beta');
    const gamma = await world.enrol('gamma');
    const client = await connect(beta);
    await client.publishAsync(reportsTopic(beta.id), incident(gamma), { qos: 1 });
    const refused = sequence;
    await client.publishAsync(reportsTopic(beta.id), incident(beta), { qos: 1 });
    await expect.poll(() => stored('beta'), WAIT).toEqual([sequence]);
    expect(await stored('gamma')).not.toContain(refused);
  });

  it('cuts a revoked device that is connected, and after a reload it does not come back', async () => {
    const device = await world.enrol('stolen');
    const client = await connect(device);
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await world.call('/devices/stolen/revocation', { body: { reason: 'test' }, token: true });
    await closed;
    // Until the list is there, the broker lets it in again; nothing that it says counts.
    const again = await connect(device);
    await again.publishAsync(reportsTopic(device.id), incident(device), { qos: 1 });
    await mosquitto.exportTrust();
    mosquitto.reload();
    await expect
      .poll(
        async () =>
          connect(device).then(
            (late) => late.endAsync(true),
            () => 'refused',
          ),
        WAIT,
      )
      .toBe('refused');
    expect(await stored('stolen')).toEqual([]);
  });
});

describe.skipIf(MOSQUITTO === undefined)('the link to a broker beside the control plane', { timeout: 60_000 }, () => {
  let world: SecureWorld;
  let mosquitto: Mosquitto;
  let device: Enrolled;
  let sender: MqttClient;
  beforeAll(async () => {
    world = await createSecureWorld();
    device = await world.enrol('alpha');
    mosquitto = await prepareMosquitto(world, await freePort());
    await mosquitto.start();
    sender = await connectAsync(`mqtts://127.0.0.1:${mosquitto.port}`, {
      ca: world.ca(),
      protocolVersion: 4,
      reconnectPeriod: 200,
      clientId: device.id,
      ...shownBy(device),
    });
    sender.on('error', () => undefined);
  });
  afterAll(async () => {
    await sender.endAsync(true);
    await mosquitto.remove();
    await world.close();
  });

  const welcomed: string[] = [];
  async function open(
    take: (text: string) => Promise<void>,
    options: Partial<ExternalBrokerOptions> = {},
  ): Promise<BrokerPort> {
    const { cert, key } = await world.serviceAccount();
    const credentials = { ca: [world.ca()], cert, key };
    const broker = connectBroker({
      url: `mqtts://127.0.0.1:${mosquitto.port}`,
      credentials: () => credentials,
      credentialsOf: () => Promise.reject(new Error('nobody is to be cut')),
      devices: { touch: () => Promise.resolve(), forgetConnections: () => Promise.resolve() },
      everybody: () => Promise.resolve([]),
      now: () => 1,
      onIncident: () => undefined,
      onSubscribed: (id) => Promise.resolve(void welcomed.push(id)),
      pauseMs: 100,
      ...options,
    });
    broker.onReports((_topic, payload) => take(Buffer.from(payload).toString('utf8')));
    await expect.poll(() => broker.collect().connections, WAIT).toBe(1);
    return broker;
  }
  const send = (text: string) => sender.publishAsync(reportsTopic(device.id), text, { qos: 1 });

  it('acknowledges what is stored alone: what could not be comes again, in order, and so does what came while it was away', async () => {
    const taken: string[] = [];
    let failures = 2;
    const first = await open((text) => {
      if (failures-- > 0) return Promise.reject(new Error('the disk is full'));
      taken.push(text);
      return Promise.resolve();
    });
    await expect.poll(async () => (await send('one'), taken.length > 0), WAIT).toBe(true);
    await send('two');
    await expect.poll(() => taken.at(-1), WAIT).toBe('two');
    expect(taken[0]).toBe('one');
    await first.close();

    await send('while away');
    // Also over a restart of the broker itself.
    await mosquitto.stop();
    await mosquitto.start();
    const later: string[] = [];
    const second = await open((text) => Promise.resolve(void later.push(text)));
    await expect.poll(() => later, WAIT).toContain('while away');
    await second.close();
  });

  it('publishes orders, and hears when a device begins to listen', async () => {
    const broker = await open(() => Promise.resolve());
    const heard: string[] = [];
    sender.on('message', (_topic, payload) => heard.push(payload.toString('utf8')));
    await expect.poll(() => sender.connected, WAIT).toBe(true);
    // The subscription of the log comes after that of the reports: ours may still be under way.
    await expect
      .poll(async () => (await sender.subscribeAsync(ordersTopic(device.id), { qos: 1 }), welcomed), WAIT)
      .toContain('alpha');
    await broker.publish(ordersTopic(device.id), Buffer.from('an order'));
    await expect.poll(() => heard, WAIT).toContain('an order');
    await broker.close();
  });

  it('publishes from within the handler of a report, and goes on taking reports', async () => {
    const taken: string[] = [];
    const heard: string[] = [];
    sender.on('message', (_topic, payload) => heard.push(payload.toString('utf8')));
    await sender.subscribeAsync(ordersTopic(device.id), { qos: 1 });
    const broker = await open(async (text) => {
      await broker.publish(ordersTopic(device.id), Buffer.from(`answer to ${text}`));
      taken.push(text);
    });
    for (const text of ['first', 'second', 'third']) await send(text);
    await expect.poll(() => taken.slice(-3), WAIT).toEqual(['first', 'second', 'third']);
    await expect.poll(() => heard, WAIT).toContain('answer to third');
    await broker.close();
  });

  it('forgets who was there when it comes back, before it hears who comes', async () => {
    const noted: string[] = [];
    const broker = await open(() => Promise.resolve(), {
      devices: {
        touch: (id, { connected }) => Promise.resolve(void noted.push(`${id} ${String(connected)}`)),
        forgetConnections: () => Promise.resolve(void noted.push('nobody')),
      },
    });
    await expect.poll(() => noted[0], WAIT).toBe('nobody');
    await mosquitto.stop();
    noted.length = 0;
    await mosquitto.start();
    await expect.poll(() => broker.collect().connections, WAIT).toBe(1);
    await expect.poll(() => sender.connected, WAIT).toBe(true);
    await expect.poll(async () => (await send('here'), noted), WAIT).toContain('alpha true');
    expect(noted.indexOf('nobody')).toBe(0);
    expect(noted.filter((each) => each === 'nobody')).toHaveLength(1);
    await broker.close();
  });

  it('counts a device as there that came anew before its old connection ended', async () => {
    const [delta, epsilon] = [await world.enrol('delta'), await world.enrol('epsilon')];
    const noted: string[] = [];
    const broker = await open(() => Promise.resolve(), {
      devices: {
        touch: (id, { connected }) => Promise.resolve(void noted.push(`${id} ${String(connected)}`)),
        forgetConnections: () => Promise.resolve(),
      },
    });
    const come = (as: Enrolled) =>
      connectAsync(`mqtts://127.0.0.1:${mosquitto.port}`, {
        ca: world.ca(),
        protocolVersion: 4,
        reconnectPeriod: 0,
        clientId: as.id,
        ...shownBy(as),
      });
    // The subscription of the log may still be under way: until a coming is heard, another one is tried.
    await expect.poll(async () => (await (await come(delta)).endAsync(), noted), WAIT).toContain('delta true');
    await expect.poll(() => noted.at(-1), WAIT).toBe('delta false');
    noted.length = 0;
    const clients = [await come(delta), await come(delta)];
    // The log is in order: this comes behind whatever is said of the takeover.
    clients.push(await come(epsilon));
    await expect.poll(() => noted, WAIT).toContain('epsilon true');
    expect(noted).toEqual(['delta true', 'delta false', 'delta true', 'epsilon true']);
    for (const client of clients) await client.endAsync(true);
    await broker.close();
  });

  it('when it is closed, it stops telling devices what they missed', async () => {
    const begun: string[] = [];
    let goOn = (): void => undefined;
    const told = new Promise<void>((resolve) => (goOn = resolve));
    const broker = await open(() => Promise.resolve(), {
      everybody: () => Promise.resolve([DeviceId('one'), DeviceId('two'), DeviceId('three')]),
      onSubscribed: async (id) => {
        begun.push(id);
        await told;
      },
    });
    await expect.poll(() => begun, WAIT).toEqual(['one']);
    const closed = broker.close();
    await expect.poll(() => broker.collect().connections, WAIT).toBe(0);
    goOn();
    await closed;
    expect(begun).toEqual(['one']);
  });
});
