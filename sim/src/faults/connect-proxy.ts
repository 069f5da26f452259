import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ConnectProxyOptions {
  /** The only ports that it opens a way to. */
  readonly allowedPorts: readonly number[];
  readonly user: string;
  readonly password: string;
}

/** One thing that the proxy was asked for. */
export interface ProxyAttempt {
  readonly what: string;
  readonly status: number;
}

export interface ConnectProxy {
  readonly port: number;
  readonly attempts: readonly ProxyAttempt[];
  /** Bytes that came back through tunnels. */
  relayedBytes(): number;
  close(): Promise<void>;
}

/**
 * The only way out of many plants: an HTTP proxy that asks who is there (RFC 7617), tunnels by CONNECT (RFC 9110, section 9.3.6) to the ports
 * that somebody allowed, and answers everything else with a refusal.
 */
export async function openConnectProxy({ allowedPorts, user, password }: ConnectProxyOptions): Promise<ConnectProxy> {
  const expected = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const attempts: ProxyAttempt[] = [];
  const open = new Set<Duplex>();
  let relayed = 0;
  const server = createServer((request, response) => {
    attempts.push({ what: `${request.method ?? ''} ${request.url ?? ''}`, status: 403 });
    response.writeHead(403).end();
  });
  server.on('connect', (request, client: Duplex) => {
    open.add(client);
    client.on('close', () => open.delete(client)).on('error', () => client.destroy());
    const answer = (status: number, reason: string, headers = ''): void => {
      attempts.push({ what: `CONNECT ${request.url ?? ''}`, status });
      client.end(`HTTP/1.1 ${status} ${reason}\r\n${headers}Content-Length: 0\r\n\r\n`);
    };
    const target = new URL(`tcp://${request.url ?? ''}`);
    if (request.headers['proxy-authorization'] !== expected) {
      answer(407, 'Proxy Authentication Required', 'Proxy-Authenticate: Basic realm="plant"\r\n');
      return;
    }
    if (!allowedPorts.includes(Number(target.port))) {
      answer(403, 'Forbidden');
      return;
    }
    const upstream: Socket = connect({ host: target.hostname, port: Number(target.port) });
    open.add(upstream);
    upstream.on('close', () => open.delete(upstream)).on('error', () => client.destroy());
    upstream.once('connect', () => {
      attempts.push({ what: `CONNECT ${request.url ?? ''}`, status: 200 });
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.on('data', (part: Buffer) => (relayed += part.length));
      upstream.pipe(client);
      client.pipe(upstream);
    });
    client.on('close', () => upstream.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    attempts,
    relayedBytes: () => relayed,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
