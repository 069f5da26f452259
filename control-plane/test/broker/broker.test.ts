import { createServer } from 'node:net';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodedError } from '@drover/shared/coded-error';
import { DeviceId } from '@drover/shared/ids';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';
import { startBroker, type BrokerPort } from '../../src/broker/index.js';

const alpha = DeviceId('alpha');
const beta = DeviceId('beta');
const MAX_PACKET_BYTES = 64 * 1024;

describe('the embedded broker', () => {
  let broker: BrokerPort;
  let incidents: unknown[];
  let seen: { id: DeviceId; connected: boolean | undefined }[];
  let clients: MqttClient[];
  let onSubscribed: (device: DeviceId) => Promise<void>;

  beforeEach(async () => {
    incidents = [];
    seen = [];
    clients = [];
    onSubscribed = () => Promise.resolve();
    broker = await startBroker({
      host: '127.0.0.1',
      port: 0,
      servicePassword: 'of-the-service',
      maxPacketBytes: MAX_PACKET_BYTES,
      now: () => 1,
      onIncident: ({ error }) => incidents.push(error),
      onSubscribed: (device) => onSubscribed(device),
      devices: {
        authenticate: (id, credential) =>
          Promise.resolve(credential === `credential-${id}` ? { id: DeviceId(id) } : undefined),
        holderOf: () => Promise.resolve({ kind: 'refused', why: 'nobody shows one here' }),
        touch: (id, { connected }) => {
          seen.push({ id, connected });
          return Promise.resolve();
        },
      },
    });
  });

  afterEach(async () => {
    for (const client of clients) await client.endAsync(true);
    await broker.close();
  });

  const connect = async (username: string, password: string, options: IClientOptions = {}): Promise<MqttClient> => {
    const client = await connectAsync(broker.url, {
      username,
      password,
      reconnectPeriod: 0,
      clientId: username,
      ...options,
    });
    clients.push(client);
    client.on('error', () => undefined);
    return client;
  };
  const device = (id: DeviceId, options?: IClientOptions) => connect(id, `credential-${id}`, options);
  const codes = () => incidents.map((error) => (error instanceof CodedError ? String(error.code) : String(error)));
  const closing = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', resolve));

  it('when the credential holds, the device is let in and seen; when not, it is refused with return code 5', async () => {
    const client = await device(alpha);
    await expect.poll(() => seen).toEqual([{ id: alpha, connected: true }]);
    const closed = closing(client);
    await client.endAsync();
    await closed;
    await expect.poll(() => seen.at(-1)).toEqual({ id: alpha, connected: false });
    await expect(connect(beta, 'credential-alpha')).rejects.toMatchObject({ code: 5 });
    await expect(connect('service', 'wrong')).rejects.toMatchObject({ code: 5 });
    expect(codes()).toEqual(['BROKER_CREDENTIAL_REFUSED', 'BROKER_CREDENTIAL_REFUSED']);
    expect(broker.collect().refusals).toEqual({ BROKER_CREDENTIAL_REFUSED: 2 });
  });

  it("when a device comes under another's client id, it is refused, because it would end that one's connection", async () => {
    const victim = await device(alpha);
    await expect(connect(beta, 'credential-beta', { clientId: alpha })).rejects.toMatchObject({ code: 5 });
    expect(victim.connected).toBe(true);
  });

  it('when a device was away, the broker kept nothing for it: what it needs is decided when it is back', async () => {
    const first = await device(alpha, { clean: false });
    await first.subscribeAsync(ordersTopic(alpha), { qos: 1 });
    await first.endAsync();
    await broker.publish(ordersTopic(alpha), Buffer.from('missed'));
    const second = await device(alpha, { clean: false });
    const heard: string[] = [];
    second.on('message', (_topic, payload) => heard.push(payload.toString()));
    await second.subscribeAsync(ordersTopic(alpha), { qos: 1 });
    await broker.publish(ordersTopic(alpha), Buffer.from('now'));
    await expect.poll(() => heard).toEqual(['now']);
  });

  it('when a device subscribes, it may hear its own orders and nothing else', async () => {
    const told: DeviceId[] = [];
    onSubscribed = (id) => {
      told.push(id);
      return Promise.resolve();
    };
    const client = await device(alpha);
    for (const topic of [ordersTopic(beta), reportsTopic(alpha), '#', 'drover/v1/devices/+/orders', '$SYS/#']) {
      await expect(client.subscribeAsync(topic, { qos: 1 })).rejects.toThrow();
    }
    expect(codes()).toEqual(Array.from({ length: 5 }, () => 'BROKER_TOPIC_REFUSED'));
    const heard = new Promise<string>((resolve) =>
      client.once('message', (topic, payload) => resolve(`${topic} ${payload.toString()}`)),
    );
    await client.subscribeAsync(ordersTopic(alpha), { qos: 1 });
    await broker.publish(ordersTopic(alpha), Buffer.from('an order'));
    expect(await heard).toBe(`${ordersTopic(alpha)} an order`);
    expect(told).toEqual([alpha]);
  });

  it('when a device publishes elsewhere, nobody gets it and the connection ends', async () => {
    const service = await connect('service', 'of-the-service');
    const heard: string[] = [];
    service.on('message', (topic) => heard.push(topic));
    await service.subscribeAsync('drover/#');
    for (const topic of [reportsTopic(beta), ordersTopic(alpha), 'elsewhere']) {
      const client = await device(alpha);
      const closed = closing(client);
      client.publish(topic, 'x', { qos: 0 });
      await closed;
    }
    expect(codes()).toEqual(['BROKER_TOPIC_REFUSED', 'BROKER_TOPIC_REFUSED', 'BROKER_TOPIC_REFUSED']);
    expect(heard).toEqual([]);
  });

  it('when a report is acknowledged, the handler has finished with it, one report after another', async () => {
    const finished: string[] = [];
    broker.onReports(async (_topic, payload) => {
      await new Promise((resolve) => setImmediate(resolve));
      finished.push(Buffer.from(payload).toString());
    });
    const client = await device(alpha);
    const numbers = Array.from({ length: 50 }, (_, index) => String(index));
    await Promise.all(
      numbers.map(async (number) => {
        await client.publishAsync(reportsTopic(alpha), number, { qos: 1 });
        expect(finished).toContain(number);
      }),
    );
    expect(finished).toEqual(numbers);
  });

  it('when storing a report fails, it is not acknowledged: the connection ends, and the device sends it again', async () => {
    const received: string[] = [];
    broker.onReports((_topic, payload) => {
      received.push(Buffer.from(payload).toString());
      return received.length === 1 ? Promise.reject(new Error('the disk is full')) : Promise.resolve();
    });
    const client = await device(alpha, { reconnectPeriod: 1, clean: false });
    let isAcknowledged = false;
    const acknowledged = client.publishAsync(reportsTopic(alpha), 'precious', { qos: 1 }).then(() => {
      isAcknowledged = true;
    });
    await closing(client);
    expect(isAcknowledged).toBe(false);
    await acknowledged;
    expect(received).toEqual(['precious', 'precious']);
    expect(codes()).toContain('Error: the disk is full');
  });

  it('when a packet is announced that is too large, the connection ends before the packet has come', async () => {
    let calls = 0;
    broker.onReports(() => {
      calls += 1;
      return Promise.resolve();
    });
    const client = await device(alpha);
    await client.publishAsync(reportsTopic(alpha), Buffer.alloc(MAX_PACKET_BYTES - 100), { qos: 1 });
    const closed = closing(client);
    client.publish(reportsTopic(alpha), Buffer.alloc(MAX_PACKET_BYTES + 1), { qos: 1 });
    await closed;
    expect(calls).toBe(1);
    await expect.poll(codes).toContain('BROKER_PACKET_TOO_LARGE');
  });

  it('when the port is taken, it says which one', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) =>
      other.listen(0, '127.0.0.1', () => {
        const address = other.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      }),
    );
    const start = startBroker({
      host: '127.0.0.1',
      port,
      now: () => 1,
      onIncident: () => undefined,
      devices: {
        authenticate: () => Promise.resolve(undefined),
        holderOf: () => Promise.resolve({ kind: 'refused', why: 'nobody shows one here' }),
        touch: () => Promise.resolve(),
      },
    });
    await expect(start).rejects.toMatchObject({ code: 'PORT_IN_USE', where: `127.0.0.1:${port}` });
    other.close();
  });
});
