import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Handover } from '../../src/serve/protocol/handover.js';
import { handOn } from '../../src/serve/protocol/rest/hand-on.js';

const listen = (server: Server): Promise<Server> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('a request that is handed on', () => {
  let successor: Server;
  let old: Server;
  let answer: (asked: IncomingMessage, response: ServerResponse) => void;
  beforeEach(async () => {
    successor = await listen(createServer((asked, response) => answer(asked, response)));
    const handover = new Handover();
    handover.begin(successor);
    handover.complete();
    old = await listen(createServer((asked, response) => void handOn(asked, response, handover)));
  });
  afterEach(() => {
    for (const server of [old, successor]) {
      server.closeAllConnections();
      server.close();
    }
  });
  const send = (options: object = {}) => request({ port: portOf(old), host: '127.0.0.1', method: 'POST', ...options });
  const answered = (asked: ReturnType<typeof send>): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => asked.once('response', resolve).once('error', reject));

  it.each(['with its length', 'in chunks'])('arrives as it was, sent %s, and so does the answer', async (how) => {
    answer = (asked, response) => {
      void bytesOf(asked).then((body) => {
        const { method, url, headers } = asked;
        response.writeHead(418, { 'x-seen': `${method} ${url} ${String(headers['x-own'])}`, 'content-type': 'a/b' });
        response.end(body);
      });
    };
    const body = Buffer.alloc(1024 ** 2, 'long ');
    const length = how === 'with its length' ? { 'content-length': body.length } : {};
    const asked = send({ path: '/v2?a=%20b', headers: { 'x-own': 'kept', ...length } });
    asked.write(body.subarray(0, 1000));
    asked.end(body.subarray(1000));
    const response = await answered(asked);
    expect(response).toMatchObject({
      statusCode: 418,
      headers: { 'x-seen': 'POST /v2?a=%20b kept', 'content-type': 'a/b' },
    });
    expect((await bytesOf(response)).equals(body)).toBe(true);
  });

  it.each([
    ['before it answers', (response: ServerResponse) => void response.destroy()],
    [
      'in its answer',
      (response: ServerResponse) => {
        response.writeHead(200, { 'content-length': 10 });
        response.write('12345', () => response.destroy());
      },
    ],
  ])('when the other breaks off %s, breaks off, too', async (_, breakOff) => {
    answer = (_asked, response) => {
      breakOff(response);
    };
    const asked = send();
    asked.end('{}');
    const whole = answered(asked).then(bytesOf);
    await expect(whole).rejects.toThrow();
  });

  it('when the client goes away, is given up', async () => {
    const [arrived, gone] = [withResolver(), withResolver()];
    answer = (_asked, response) => {
      response.once('close', gone.resolve);
      arrived.resolve();
    };
    const asked = send();
    asked.on('error', () => undefined);
    asked.end('{}');
    await arrived.promise;
    asked.destroy();
    await gone.promise;
  });

  it('when it is answered before it was sent whole, is answered so', async () => {
    answer = (_asked, response) => {
      response.shouldKeepAlive = false;
      response.writeHead(413).end('too large');
    };
    const asked = send({ headers: { 'content-length': 1024 ** 2 } });
    asked.write('begun');
    const response = await answered(asked);
    expect([response.statusCode, (await bytesOf(response)).toString()]).toEqual([413, 'too large']);
    asked.destroy();
  });
});

function withResolver() {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((fulfil) => (resolve = fulfil));
  return { promise, resolve: () => resolve() };
}
