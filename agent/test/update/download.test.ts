import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { downloadBlob } from '../../src/update/download.js';
import { httpReleaseSource } from '../../src/update/index.js';
import { Bandwidth, DEFAULT_LIMITS } from '../../src/update/delivery/bandwidth.js';
import { createWriteGate } from '../../src/update/kill-points.js';
import { ReleaseStore } from '../../src/update/store.js';
import {
  answering,
  credential,
  cutAfter,
  releaseServer,
  type ReleaseServer,
  type ServerFault,
} from './fixtures/release-server.js';
import { device, publish } from './fixtures/releases.js';
import { virtualClock } from './fixtures/virtual-clock.js';

const published = publish('1.0.0', { bytes: 300_000 });
const digest = digestOf(published.modelBytes);
const reference = { path: 'model.onnx', digest, bytes: published.modelBytes.length };

let dataDir: string;
let server: ReleaseServer;
let store: ReleaseStore;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'drover-download-'));
  server = await releaseServer(published);
  const gate = createWriteGate(() => undefined);
  store = await ReleaseStore.open({ dataDir, gate, diskFreeBytes: () => Promise.resolve(1e12) });
});
afterEach(async () => {
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

const download = (secret = credential, idleTimeoutMs = 5_000) =>
  downloadBlob(reference, {
    source: httpReleaseSource({ controlPlaneUrl: server.url, deviceId: device, credential: secret, idleTimeoutMs }),
    store,
    clock: virtualClock(),
    bandwidth: new Bandwidth(DEFAULT_LIMITS, virtualClock()),
    priority: 'large',
    retry: { firstMs: 10, maxMs: 100, giveUpAfterMs: 1_000 },
    signal: new AbortController().signal,
  });
const stored = () => readFile(store.blobFile(digest));
const once = (fault: ServerFault): ServerFault => {
  let isDone = false;
  return (...parts) => {
    if (isDone) return false;
    isDone = true;
    return fault(...parts);
  };
};

describe('when a file is fetched', () => {
  it('resumes after every break with what is missing', async () => {
    let breaks = 0;
    server.fault = (request, response, body) => {
      breaks += 1;
      if (breaks > 4) return false;
      const from = Number(/(\d+)-/.exec(request.headers.range ?? '0-')?.[1]);
      response.writeHead(from === 0 ? 200 : 206, {
        'content-range': `bytes ${from}-${body.length - 1}/${body.length}`,
        'content-length': body.length - from,
      });
      response.write(body.subarray(from, from + 50_000), () => response.destroy());
      return true;
    };
    await download();
    expect(await stored()).toEqual(published.modelBytes);
    expect(server.requests.at(-1)).toMatch(/ bytes=200000-$/);
  });

  it('copes with a server that ignores Range', async () => {
    await writeFile(store.partialFile(digest), published.modelBytes.subarray(0, 70_001));
    server.fault = answering((_request, response, body) => response.writeHead(200).end(body));
    await download();
    expect(await stored()).toEqual(published.modelBytes);
  });

  it('fetches anew when what a power cut left is garbage', async () => {
    await writeFile(store.partialFile(digest), Buffer.alloc(50_000, 7));
    await download();
    expect(await stored()).toEqual(published.modelBytes);
    expect(server.requests).toHaveLength(2);
  });

  it('fetches anew when the partial file is larger than the file', async () => {
    await writeFile(store.partialFile(digest), Buffer.alloc(400_000));
    await download();
    expect(await stored()).toEqual(published.modelBytes);
  });

  it('needs no server for a partial file that is whole', async () => {
    await writeFile(store.partialFile(digest), published.modelBytes);
    await download();
    expect(server.requests).toEqual([]);
  });

  it('stops an answer that never ends at the size of the manifest', async () => {
    server.fault = (_request, response, body) => {
      const more = () => {
        if (!response.destroyed) response.write(body, more);
      };
      response.writeHead(200);
      more();
      return true;
    };
    await expect(download()).rejects.toMatchObject({ code: 'FETCH_TOO_LARGE' });
    await expect(readFile(store.partialFile(digest))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('tries again after a silence', async () => {
    server.fault = once((_request, response, body) => {
      response.writeHead(200).write(body.subarray(0, 10));
      return true;
    });
    await download(credential, 50);
    expect(await stored()).toEqual(published.modelBytes);
  });

  it.each([
    ['server errors', 'FETCH_UNREACHABLE', answering((_request, response) => response.writeHead(500).end()), true],
    ['broken connections', 'FETCH_UNREACHABLE', answering((_request, response) => response.destroy()), true],
    ['cuts at the same byte', 'FETCH_', cutAfter(0), true],
    [
      'another part than asked for',
      'FETCH_ANSWER_INVALID',
      answering((_request, response, body) => response.writeHead(206, { 'content-range': 'bytes 5-9/10' }).end(body)),
      false,
    ],
    ['an unknown file', 'FETCH_NOT_FOUND', answering((_request, response) => response.writeHead(404).end()), false],
  ])('gives up after %s with a code', async (_what, code, fault, isRetried) => {
    server.fault = fault;
    await expect(download()).rejects.toMatchObject({ code: expect.stringContaining(code) as string });
    expect(server.requests.length > 1).toBe(isRetried);
  });

  it('repeats the words of a server that does not let it in', async () => {
    await expect(download('wrong')).rejects.toMatchObject({
      code: 'FETCH_UNAUTHORIZED',
      message: expect.stringContaining('NOT_ALLOWED: Unknown device.') as string,
    });
  });
});
