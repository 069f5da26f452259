import { once } from 'node:events';
import { createServer as createHttpServer, get, type IncomingMessage, type Server as HttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { afterEach, describe, expect, it } from 'vitest';
import { openFlakyProxy, type FlakyProxy, type FlakyProxyOptions } from '../../src/faults/index.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(server: Server | HttpServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.close();
    if ('closeAllConnections' in server) server.closeAllConnections();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

async function proxyTo(port: number, faults: Partial<FlakyProxyOptions> = {}): Promise<FlakyProxy> {
  const proxy = await openFlakyProxy({ target: { host: '127.0.0.1', port }, seed: 1, ...faults });
  closers.push(() => proxy.close());
  return proxy;
}

const echo = (): Promise<number> =>
  listen(createServer((socket) => socket.on('error', () => socket.destroy()).pipe(socket)));

interface Dialled {
  readonly socket: Socket;
  /** The error code that ended the connection, or "closed". */
  readonly ended: Promise<string>;
  /** Everything received, once it is at least so many bytes. */
  readonly receive: (bytes: number) => Promise<Buffer>;
}

/** A connection as an MQTT client holds it: open for long, bytes both ways. Not awaited, since a reset may come before "connect". */
function dial(port: number): Dialled {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on('close', () => resolve('closed'));
  });
  const receive = async (bytes: number): Promise<Buffer> => {
    while (chunks.reduce((sum, chunk) => sum + chunk.length, 0) < bytes) await once(socket, 'data');
    return Buffer.concat(chunks);
  };
  return { socket, ended, receive };
}

describe('when the network is well', () => {
  it('passes bytes both ways unchanged, in order, and the end of one side', async () => {
    const proxy = await proxyTo(await echo(), { latencyMs: 1, jitterMs: 3 });
    const { socket, ended, receive } = dial(proxy.port);
    const sent = Buffer.from(Uint32Array.from({ length: 500_000 }, (_, index) => index).buffer);
    for (let at = 0; at < sent.length; at += 100_003) socket.write(sent.subarray(at, at + 100_003));
    socket.end();
    expect((await receive(sent.length)).equals(sent)).toBe(true);
    expect(await ended).toBe('closed');
  });

  it('takes at least the latency in each direction', async () => {
    const proxy = await proxyTo(await echo(), { latencyMs: 40 });
    const { socket, receive } = dial(proxy.port);
    const before = performance.now();
    socket.write('ping');
    expect((await receive(4)).toString()).toBe('ping');
    expect(performance.now() - before).toBeGreaterThanOrEqual(80);
    socket.destroy();
  });
});

describe('when the network is cut', () => {
  it('resets what is connected and what connects, until it heals', async () => {
    const proxy = await proxyTo(await echo());
    const first = dial(proxy.port);
    first.socket.write('x');
    await first.receive(1);
    proxy.cut();
    expect(await first.ended).toBe('ECONNRESET');
    expect(await dial(proxy.port).ended).toBe('ECONNRESET');
    proxy.heal();
    const third = dial(proxy.port);
    third.socket.write('again');
    expect((await third.receive(5)).toString()).toBe('again');
    third.socket.destroy();
  });

  it('resets a device whose target is not there', async () => {
    const server = createServer();
    const port = await listen(server);
    await closers.pop()?.();
    expect(await dial((await proxyTo(port)).port).ended).toBe('ECONNRESET');
  });
});

describe('when connections are dropped', () => {
  it('resets one of every n, and the same ones for the same seed', async () => {
    const port = await echo();
    const patternOf = async (seed: number): Promise<boolean[]> => {
      const proxy = await proxyTo(port, { dropEveryNth: 3, seed });
      const passed: boolean[] = [];
      for (let attempt = 0; attempt < 9; attempt++) {
        const { socket, ended, receive } = dial(proxy.port);
        socket.write('x');
        passed.push(
          await Promise.race([
            receive(1).then(
              () => true,
              () => false,
            ),
            ended.then(() => false),
          ]),
        );
        socket.destroy();
      }
      return passed;
    };
    const pattern = await patternOf(1);
    for (const start of [0, 3, 6]) expect(pattern.slice(start, start + 3).filter((passed) => !passed)).toHaveLength(1);
    expect(await patternOf(1)).toEqual(pattern);
  });
});

describe('when every connection is cut after some bytes', () => {
  it('an HTTP download fails, and completes by ranges', async () => {
    const body = Buffer.from(Uint32Array.from({ length: 30_000 }, (_, index) => index * 7).buffer);
    const server = createHttpServer((request, response) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? 'bytes=0-')?.[1]);
      response.writeHead(from === 0 ? 200 : 206, { 'content-length': body.length - from });
      response.end(body.subarray(from));
    });
    const proxy = await proxyTo(await listen(server), { cutAfterBytes: 50_000 });
    let fetched = Buffer.alloc(0);
    let attempts = 0;
    while (fetched.length < body.length && attempts < 10) {
      attempts++;
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get(
          { host: '127.0.0.1', port: proxy.port, agent: false, headers: { range: `bytes=${fetched.length}-` } },
          resolve,
        ).on('error', reject);
      });
      let received = 0;
      response.on('data', (chunk: Buffer) => {
        received += chunk.length;
        fetched = Buffer.concat([fetched, chunk]);
      });
      await new Promise<void>((resolve) => response.on('error', () => resolve()).on('close', resolve));
      expect(received).toBeLessThan(50_000);
    }
    expect(attempts).toBe(3);
    expect(fetched.equals(body)).toBe(true);
  });
});
