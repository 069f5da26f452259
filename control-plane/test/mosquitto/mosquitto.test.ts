import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ordersTopic, reportsTopic } from '@drover/shared/protocol';
import { createSecureWorld, shownBy, type Enrolled, type SecureWorld, type Shown } from '../devices/secure-world.js';
import { makeRequest } from '../devices/signing-request.js';

/** Where distributions put it; not on the PATH of everybody. */
const MOSQUITTO = ['mosquitto', '/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'].find((program) => {
  try {
    execFileSync(program, ['-h'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    // It answers its help with status 3; only a program that is not there has no status.
    return typeof (error as { status?: unknown }).status === 'number';
  }
});
const shipped = (name: string) => new URL(`../../mosquitto/${name}`, import.meta.url).pathname;

// Without Mosquitto there is nothing to test; .ci/run installs it.
describe.skipIf(MOSQUITTO === undefined)('a stock Mosquitto with the configuration that we ship', () => {
  let world: SecureWorld;
  let folder: string;
  let port: number;
  let broker: ChildProcess;
  let alpha: Enrolled;
  let beta: Enrolled;
  const clients: MqttClient[] = [];

  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port: free } = server.address() as AddressInfo;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return free;
  }
  /** As `drover ca export` does. */
  async function exportTrust(): Promise<void> {
    const { body } = await world.call('/certificate-authorities/trust', { token: true });
    const trust = body as { authorities: string; revocationLists: string };
    writeFileSync(join(folder, 'ca.crt'), trust.authorities);
    writeFileSync(join(folder, 'revoked.crl'), trust.revocationLists);
  }
  async function start(): Promise<void> {
    broker = spawn(MOSQUITTO ?? '', ['-c', join(folder, 'mosquitto.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve, reject) => {
      let said = '';
      broker.stderr?.on('data', (part: Buffer) => {
        said += part.toString();
        if (said.includes('running')) resolve();
      });
      broker.once('exit', (status) => reject(new Error(`mosquitto ended with ${String(status)}: ${said}`)));
    });
  }
  async function stop(): Promise<void> {
    const ended = new Promise<void>((resolve) => broker.once('exit', () => resolve()));
    broker.kill('SIGTERM');
    await ended;
  }
  const connect = (device: Enrolled, options: IClientOptions = {}) => connectAs(device.id, shownBy(device), options);
  const connectAs = async (clientId: string, shown: Shown, options: IClientOptions = {}): Promise<MqttClient> => {
    const client = await connectAsync(`mqtts://127.0.0.1:${port}`, {
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
    folder = mkdtempSync(join(tmpdir(), 'drover-mosquitto-'));
    chmodSync(folder, 0o755);
    port = await freePort();
    const { request, key } = await makeRequest();
    const { body } = await world.call('/server-certificates', {
      body: { names: ['127.0.0.1'], request, days: 10 },
      token: true,
    });
    writeFileSync(join(folder, 'server.crt'), (body as { chain: string }).chain);
    writeFileSync(join(folder, 'server.key'), key);
    chmodSync(join(folder, 'server.key'), 0o644);
    copyFileSync(shipped('acl'), join(folder, 'acl'));
    await exportTrust();
    const conf = readFileSync(shipped('mosquitto.conf'), 'utf8')
      .replace('listener 8883', `listener ${port} 127.0.0.1`)
      .replaceAll('/etc/mosquitto/drover', folder);
    writeFileSync(join(folder, 'mosquitto.conf'), conf);
    await start();
  });
  afterAll(async () => {
    for (const client of clients) await client.endAsync(true);
    await stop();
    await world.close();
    rmSync(folder, { recursive: true, force: true });
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
    const bare = connectAsync(`mqtts://127.0.0.1:${port}`, { ca: world.ca(), reconnectPeriod: 0, clientId: 'alpha' });
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
    await exportTrust();
    await stop();
    await start();
    await expect(connect(device)).rejects.toThrow(/revoked|alert|closed|ECONNRESET/i);
    await (await connect(alpha)).endAsync();
  });
});
