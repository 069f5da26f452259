import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openAsBlob, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authorities, ownServerCredentials } from '../../src/certificate-authority/index.js';
import { connect, type Client } from '../../src/cli/client.js';
import { sendBelieving } from '../../src/cli/private-authority.js';

const BYTES = 3 * 1024 * 1024;
const signal = new AbortController().signal;
let folder: string;
let file: string;
let server: Server;
let url: string;
let ca: string;
let client: Client;
let received: { length: string | undefined; digest: string }[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'drover-authority-'));
  file = join(folder, 'model.onnx');
  writeFileSync(file, Buffer.alloc(BYTES, 7));
  const authorities = await Authorities.open(join(folder, 'certificate-authority'), Date.now);
  ca = authorities.current().pem;
  const credentials = await ownServerCredentials(authorities, ['localhost'], Date.now);
  received = [];
  server = createServer(credentials.current(), (request, response) => {
    const hash = createHash('sha256');
    request.on('data', (part: Buffer) => hash.update(part));
    request.on('end', () => {
      received.push({ length: request.headers['content-length'], digest: hash.digest('hex') });
      response.end('{}');
    });
    request.on('error', () => undefined);
  });
  await once(server.listen(0, 'localhost'), 'listening');
  url = `https://localhost:${(server.address() as AddressInfo).port}`;
  client = connect(url, 'token', ca);
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  rmSync(folder, { recursive: true });
});

/** Cannot be had whole, as a model that is larger than the memory cannot. */
class Unbounded extends Blob {
  override arrayBuffer(): Promise<ArrayBuffer> {
    return Promise.reject(new Error('nobody has so much memory'));
  }
}

describe('when a file goes to a control plane of a private authority', () => {
  it('is sent as it is read, with its length', async () => {
    const content = Buffer.alloc(BYTES, 7);
    await client.putBlob('a', new Unbounded([content]), signal);
    await client.putBlob('a', await openAsBlob(file), signal);
    const expected = { length: String(BYTES), digest: createHash('sha256').update(content).digest('hex') };
    expect(received).toEqual([expected, expected]);
  });

  it('fails with the reason where it changed since it was opened', async () => {
    const changing = join(folder, 'changing.onnx');
    writeFileSync(changing, Buffer.alloc(BYTES, 1));
    const blob = await openAsBlob(changing);
    writeFileSync(changing, Buffer.alloc(10, 2));
    const init = { method: 'PUT', headers: {}, redirect: 'error', body: blob } as const;
    await expect(sendBelieving(ca)(url, init)).rejects.toThrow(/could not be read/);
  });

  it('ends when the user interrupts', async () => {
    const interruption = new AbortController();
    const stopped = client.putBlob('a', await openAsBlob(file), interruption.signal);
    interruption.abort(new Error('enough'));
    await expect(stopped).rejects.toThrow('enough');
  });

  it('is not sent to one whose authority is another', async () => {
    const other = await Authorities.open(join(folder, 'another-authority'), Date.now);
    const stranger = connect(url, 'token', other.current().pem);
    await expect(stranger.putBlob('a', await openAsBlob(file), signal)).rejects.toMatchObject({
      code: 'CLI_UNREACHABLE',
    });
  });
});
