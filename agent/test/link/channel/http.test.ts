import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { httpOver, readBody, type HttpAnswer } from '../../../src/link/channel/http.js';

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

const textOf = async (answer: HttpAnswer): Promise<string> => (await readBody(answer, 100_000)).toString('utf8');

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
    expect(await textOf(await http.fetch(url))).toBe(text);
    http.reset();
  });

  it.each(['gzip', 'br'])('fails where the contents are cut off or no such thing (%s)', async (coding) => {
    const url = await serving((_request, response) =>
      response.writeHead(200, { 'content-encoding': coding }).end('no compressed bytes'),
    );
    const http = httpOver(open);
    await expect(textOf(await http.fetch(url))).rejects.toThrow();
    http.reset();
  });

  it('is read no further than to the bound', async () => {
    const url = await serving((_request, response) => response.writeHead(200).end(text));
    const http = httpOver(open);
    await expect(readBody(await http.fetch(url), text.length - 1)).rejects.toMatchObject({
      code: 'LINK_ANSWER_UNREADABLE',
    });
    expect(await readBody(await http.fetch(url), text.length)).toHaveLength(text.length);
    http.reset();
  });

  it('refuses a coding that was not asked for', async () => {
    const url = await serving((_request, response) =>
      response.writeHead(200, { 'content-encoding': 'zstd' }).end(text),
    );
    const http = httpOver(open);
    await expect(http.fetch(url)).rejects.toMatchObject({ code: 'LINK_ANSWER_UNREADABLE', where: url });
    http.reset();
  });
});
