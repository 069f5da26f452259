import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { ordersTopic } from '@drover/shared/protocol';
import { connectBroker } from '../../src/broker/index.js';
import { makeRequest } from '../devices/signing-request.js';
import { createSecureWorld, type SecureWorld } from '../devices/secure-world.js';

const CONNECT = 1;
const PUBLISH = 3;
const SUBSCRIBE = 8;

describe('a broker beside the control plane that falls silent', () => {
  let world: SecureWorld;
  let server: Server;
  const sockets = new Set<TLSSocket>();
  /** Types of the packets that came (MQTT 3.1.1, section 2.2.1). */
  const came: number[] = [];

  beforeAll(async () => {
    world = await createSecureWorld();
    const { request, key } = await makeRequest();
    const { body } = await world.call('/server-certificates', {
      body: { names: ['127.0.0.1'], request, days: 10 },
      token: true,
    });
    server = createServer({ cert: (body as { chain: string }).chain, key }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (packet: Buffer) => {
        const type = (packet[0] ?? 0) >> 4;
        came.push(type);
        // One connection is taken: a second one, in the name of a device, waits for its CONNACK.
        if (type === CONNECT && sockets.size === 1) socket.write(Uint8Array.of(0x20, 2, 0, 0));
        if (type === SUBSCRIBE) socket.write(Uint8Array.of(0x90, 3, packet[2] ?? 0, packet[3] ?? 0, 1));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    await world.close();
  });

  it('holds up neither who publishes nor who closes', async () => {
    const { cert, key } = await world.serviceAccount();
    const credentials = { ca: [world.ca()], cert, key };
    const incidents: unknown[] = [];
    const broker = connectBroker({
      url: `mqtts://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: () => credentials,
      credentialsOf: () => Promise.resolve(credentials),
      devices: { touch: () => Promise.resolve(), forgetConnections: () => Promise.resolve() },
      everybody: () => Promise.resolve([DeviceId('alpha')]),
      onSubscribed: (device) => broker.publish(ordersTopic(device), Buffer.from('what it missed')),
      now: () => 1,
      onIncident: ({ error }) => incidents.push(error),
    });
    // What `onSubscribed` sent; nobody acknowledges it.
    await expect.poll(() => came).toContain(PUBLISH);
    await broker.publish(ordersTopic(DeviceId('alpha')), Buffer.from('an order'));
    broker.disconnect(DeviceId('alpha'));
    await expect.poll(() => came.filter((type) => type === CONNECT)).toHaveLength(2);
    await broker.close();
    expect(incidents).toEqual([]);
  });
});
