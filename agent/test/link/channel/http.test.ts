import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { httpOver } from '../../../src/link/channel/http.js';

const open = (target: URL) => Promise.resolve(connect({ host: target.hostname, port: Number(target.port) }));

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function serving(answer: RequestListener): Promise<string> {
  server = createServer(answer);
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const text = 'the same words again and again, '.repeat(100);

describe('when a server compresses its answer', () => {
  it.each([
    ['gzip', gzipSync(text)],
    ['br', brotliCompressSync(text)],
  ])('hands on what it was before (%s)', async (coding, body) => {
    const url = await serving((_request, response) =>
      response.writeHead(200, { 'content-encoding': coding }).end(body),
    );
    const http = httpOver(open);
    expect(await (await http.fetch(url)).text()).toBe(text);
    http.reset();
  });

  it.each(['gzip', 'br'])('fails where the contents are cut off or no such thing (%s)', async (coding) => {
    const url = await serving((_request, response) =>
      response.writeHead(200, { 'content-encoding': coding }).end('no compressed bytes'),
    );
    const http = httpOver(open);
    await expect((await http.fetch(url)).text()).rejects.toThrow();
    http.reset();
  });
});
