import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { connectAsync } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { openReport, ordersTopic, reportsTopic, type ReportBody } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { systemClock } from '../../src/host/index.js';
import {
  createChannel,
  openLink,
  openOutbox,
  type Link,
  type LinkError,
  type LinkOptions,
  type Outbox,
} from '../../src/link/index.js';

const key = createKeyPair();
const deviceId = DeviceId('pump-7');
const plainChannel = createChannel({
  proxy: { exceptions: [] },
  trust: () => ({ authorities: [], system: false }),
  client: () => undefined,
  notBeforeMs: () => Date.now(),
});
const telemetry: ReportBody<'telemetry'> = { windowMs: 1000, models: [] };

let dataDir: string;
let outbox: Outbox;
let links: Link[];
let problems: LinkError[];
const closers: (() => Promise<unknown> | undefined)[] = [];
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'drover-link-'));
  outbox = openOutbox({ dataDir, deviceId, signer: bulkSigner(key), clock: systemClock });
  links = [];
  problems = [];
});
afterEach(async () => {
  for (const link of links) await link.close();
  outbox.close();
  for (const close of closers.splice(0).reverse()) await close();
  await rm(dataDir, { recursive: true, force: true });
});

async function listen(
  onSocket: (socket: Socket) => void,
  port = 0,
): Promise<{ port: number; stop: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  closers.push(stop);
  return { port: (server.address() as AddressInfo).port, stop };
}

async function broker() {
  const aedes = await Aedes.createBroker();
  closers.push(() => new Promise<void>((resolve) => aedes.close(() => resolve())));
  return aedes;
}

function link(port: number, change: Partial<LinkOptions> = {}): Promise<void> {
  return new Promise((resolve) => {
    links.push(
      openLink({
        urls: [`mqtt://127.0.0.1:${port}`],
        channel: plainChannel,
        deviceId,
        credential: 'secret',
        outbox,
        clock: systemClock,
        onOrder: () => Promise.resolve(),
        onConnected: () => resolve(),
        onProblem: (error) => problems.push(error),
        backoff: { firstMs: 5, maxMs: 20 },
        ...change,
      }),
    );
  });
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
};

/** A client of the control plane that keeps the reports it gets. */
async function listener(port: number) {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 4, clientId: 'listener' });
  closers.push(() => client.endAsync(true));
  const sequences: number[] = [];
  client.on('message', (_topic, payload) => {
    sequences.push(openReport(payload, deviceId, { threshold: 1, keys: [publicKeyOf(key)] }).sequence);
  });
  await client.subscribeAsync(reportsTopic(deviceId), { qos: 1 });
  return { client, sequences };
}

describe('when the broker runs', () => {
  it('delivers orders and sends queued and new reports in order, removing each after its acknowledgement', async () => {
    const aedes = await broker();
    const { port } = await listen(aedes.handle);
    const { client, sequences } = await listener(port);
    outbox.enqueue('telemetry', telemetry);
    outbox.enqueue('telemetry', telemetry);
    const orders: string[] = [];
    await link(port, { onOrder: (bytes) => Promise.resolve(void orders.push(Buffer.from(bytes).toString())) });
    outbox.enqueue('telemetry', telemetry);
    await client.publishAsync(ordersTopic(deviceId), 'an order', { qos: 1 });
    await until(() => sequences.length === 3 && orders.length === 1);
    expect(sequences).toEqual([1, 2, 3]);
    expect(orders).toEqual(['an order']);
    await until(() => outbox.pending().reports === 0);
  });

  it('takes nothing that a broker kept for it, and connects anew where it could not store an order', async () => {
    const aedes = await broker();
    const { port } = await listen(aedes.handle);
    await link(port);
    await links.pop()?.close();
    const { client } = await listener(port);
    await client.publishAsync(ordersTopic(deviceId), 'while away', { qos: 1 });
    const attempts: string[] = [];
    await link(port, {
      onOrder: (bytes) => {
        attempts.push(Buffer.from(bytes).toString());
        return attempts.length < 2 ? Promise.reject(new Error('the disk is full')) : Promise.resolve();
      },
    });
    await client.publishAsync(ordersTopic(deviceId), 'not stored', { qos: 1 });
    await until(() => problems.length === 1);
    // As the director does, to whoever states what it has.
    const again = setInterval(() => client.publish(ordersTopic(deviceId), 'again', { qos: 1 }), 50);
    await until(() => attempts.length >= 2);
    clearInterval(again);
    expect(attempts.slice(0, 2)).toEqual(['not stored', 'again']);
  });
});

describe('when the broker is down or breaks', () => {
  it('starts without it, and connects when it comes', async () => {
    const { port, stop } = await listen((socket) => socket.destroy());
    await stop();
    const connected = link(port);
    await until(() => problems.length >= 2);
    expect(problems[0]).toMatchObject({ code: 'LINK_UNREACHABLE', retryable: true });
    const aedes = await broker();
    await listen(aedes.handle, port);
    await connected;
    expect(links[0]?.isConnected()).toBe(true);
  });

  it('loses no report and keeps their order when connections break while it sends', async () => {
    const aedes = await broker();
    let connections = 0;
    const { port } = await listen((socket) => {
      connections += 1;
      aedes.handle(socket);
    });
    const { sequences } = await listener(port);
    for (let index = 0; index < 60; index += 1) outbox.enqueue('telemetry', telemetry);
    let isBroken = 0;
    aedes.on('publish', ({ topic }, client) => {
      if (client?.id !== deviceId || topic !== reportsTopic(deviceId)) return;
      isBroken += 1;
      if (isBroken % 20 === 0) client.conn.destroy();
    });
    await link(port);
    await until(() => outbox.pending().reports === 0 && sequences.includes(60));
    expect(connections).toBeGreaterThan(3);
    expect([...new Set(sequences)]).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    expect(problems.map(({ code }) => code)).toContain('LINK_LOST');
  });

  it.each([
    [1, 'unacceptable protocol version'],
    [3, 'server unavailable'],
    [5, 'not authorized'],
  ])('goes on trying after CONNACK %d', async (returnCode, words) => {
    const aedes = await broker();
    let connections = 0;
    const { port } = await listen((socket) => {
      connections += 1;
      // MQTT 3.1.1, section 3.2: packet type 2, two more bytes: no session, the return code.
      if (connections <= 3) socket.once('data', () => socket.end(Buffer.from([0x20, 0x02, 0x00, returnCode])));
      else aedes.handle(socket);
    });
    await link(port);
    expect(connections).toBe(4);
    expect(problems.map(({ code }) => code)).toEqual(['LINK_REFUSED', 'LINK_REFUSED', 'LINK_REFUSED']);
    expect(problems[0]?.message).toContain(words);
  });

  it('survives a server that speaks no MQTT, and closes while it waits', async () => {
    const { port } = await listen((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
    void link(port);
    await until(() => problems.length >= 2);
    await links[0]?.close();
    expect(links[0]?.isConnected()).toBe(false);
  });

  it('closes at once while a server is silent', async () => {
    const { port } = await listen(() => undefined);
    void link(port);
    await links[0]?.close();
    expect(problems).toEqual([]);
  });
});
