import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';
import { createSecureWorld, shownBy, type Enrolled, type SecureWorld, type Shown } from '../devices/secure-world.js';
import { freePort, MOSQUITTO, prepareMosquitto, type Mosquitto } from './mosquitto.js';

// Without Mosquitto there is nothing to test; .ci/run installs it.
describe.skipIf(MOSQUITTO === undefined)('a stock Mosquitto with the configuration that we ship', () => {
  let world: SecureWorld;
  let mosquitto: Mosquitto;
  let alpha: Enrolled;
  let beta: Enrolled;
  const clients: MqttClient[] = [];

  const connect = (device: Enrolled, options: IClientOptions = {}) => connectAs(device.id, shownBy(device), options);
  const connectAs = async (clientId: string, shown: Shown, options: IClientOptions = {}): Promise<MqttClient> => {
    const client = await connectAsync(`mqtts://127.0.0.1:${mosquitto.port}`, {
      ca: world.ca(),
      reconnectPeriod: 0,
      protocolVersion: 4,
      clientId,
      ...shown,
      ...options,
    });
    client.on('error', () => undefined);
    clients.push(client);
    return client;
  };

  beforeAll(async () => {
    world = await createSecureWorld();
    alpha = await world.enrol('alpha');
    beta = await world.enrol('beta');
    mosquitto = await prepareMosquitto(world, await freePort());
    await mosquitto.start();
  });
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true);
    await mosquitto.remove();
    await world.close();
  });

  /** MQTT 3.1.1 has no word for a refused PUBLISH: that nobody hears it is the proof. */
  async function heardBy(listener: MqttClient, publishing: () => Promise<unknown>, topic: string): Promise<boolean> {
    const heard: string[] = [];
    const onMessage = (name: string): void => void heard.push(name);
    listener.on('message', onMessage);
    await publishing();
    // The broker handles one connection's packets in order: this one, allowed, comes after whatever came before it.
    await expect.poll(() => heard).toContain(reportsTopic(alpha.id));
    listener.off('message', onMessage);
    return heard.includes(topic);
  }

  it('delivers to a device its own orders, whatever it subscribes to', async () => {
    // Mosquitto's ACL file grants every SUBSCRIBE and judges each delivery.
    const client = await connect(alpha);
    const heard: string[] = [];
    client.on('message', (topic) => heard.push(topic));
    for (const topic of ['#', ordersTopic(beta.id), reportsTopic(beta.id), 'drover/v1/devices/+/orders'])
      await client.subscribeAsync(topic, { qos: 1 });
    const service = await connectAs('service', await world.serviceAccount());
    const others = await connect(beta);
    await others.publishAsync(reportsTopic(beta.id), 'of beta', { qos: 1 });
    await service.publishAsync(ordersTopic(beta.id), 'for beta', { qos: 1 });
    await service.publishAsync(ordersTopic(alpha.id), 'for alpha', { qos: 1 });
    await expect.poll(() => heard).toContain(ordersTopic(alpha.id));
    expect([...new Set(heard)]).toEqual([ordersTopic(alpha.id)]);
    for (const each of [client, service, others]) await each.endAsync();
  });

  it("delivers a device's report to the service account, and nothing that it publishes elsewhere", async () => {
    const service = await connectAs('service', await world.serviceAccount());
    await service.subscribeAsync('drover/#', { qos: 1 });
    const client = await connect(alpha);
    for (const topic of [reportsTopic(beta.id), ordersTopic(alpha.id), ordersTopic(beta.id)]) {
      const wasHeard = await heardBy(
        service,
        async () => {
          await client.publishAsync(topic, 'x', { qos: 1 });
          await client.publishAsync(reportsTopic(alpha.id), 'mine', { qos: 1 });
        },
        topic,
      );
      expect(wasHeard, topic).toBe(false);
    }
    // And what it would subscribe to by a wildcard does not reach it.
    const overheard: string[] = [];
    client.on('message', (topic) => overheard.push(topic));
    await client.subscribeAsync(ordersTopic(alpha.id), { qos: 1 });
    await service.publishAsync(ordersTopic(beta.id), 'for beta', { qos: 1 });
    await service.publishAsync(ordersTopic(alpha.id), 'for alpha', { qos: 1 });
    await expect.poll(() => overheard).toEqual([ordersTopic(alpha.id)]);
  });

  it('takes the client id from the certificate: nobody ends the connection of another', async () => {
    const victim = await connect(beta);
    const closed: boolean[] = [];
    victim.once('close', () => closed.push(true));
    const attacker = await connect(alpha, { clientId: 'beta' });
    await attacker.publishAsync(reportsTopic(alpha.id), 'x', { qos: 1 });
    expect(victim.connected).toBe(true);
    expect(closed).toEqual([]);
  });

  it('refuses who has no certificate, or one of another authority', async () => {
    const bare = connectAsync(`mqtts://127.0.0.1:${mosquitto.port}`, {
      ca: world.ca(),
      reconnectPeriod: 0,
      clientId: 'alpha',
    });
    await expect(bare).rejects.toThrow();
    const elsewhere = await createSecureWorld();
    try {
      await expect(connect(await elsewhere.enrol('alpha'))).rejects.toThrow();
    } finally {
      await elsewhere.close();
    }
  });

  it('refuses a revoked certificate by the list that the control plane writes', async () => {
    const device = await world.enrol('stolen');
    await (await connect(device)).endAsync();
    await world.call('/devices/stolen/revocation', { body: { reason: 'test' }, token: true });
    await mosquitto.exportTrust();
    await mosquitto.stop();
    await mosquitto.start();
    await expect(connect(device)).rejects.toThrow(/revoked|alert|closed|ECONNRESET/i);
    await (await connect(alpha)).endAsync();
  });
});
