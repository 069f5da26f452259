import { appendFile, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildChunkIndex, isWorthAnIndex, memorySource } from '@drover/shared/delivery';
import { digestHex } from '@drover/shared/ids';
import { seededRandom } from '@drover/shared/statistics';
import { Bandwidth, DEFAULT_LIMITS } from '../../../src/update/delivery/bandwidth.js';
import { deliverFile } from '../../../src/update/delivery/deliver.js';
import { httpReleaseSource, type ReleaseSource } from '../../../src/update/index.js';
import { createWriteGate, type KillPoint } from '../../../src/update/kill-points.js';
import { ReleaseStore } from '../../../src/update/store.js';
import { Fuse, ignoreCut } from '../fixtures/fuse.js';
import { credential, releaseServer, type ReleaseServer } from '../fixtures/release-server.js';
import { device } from '../fixtures/releases.js';
import { virtualClock } from '../fixtures/virtual-clock.js';
import {
  directoryPath,
  fineTuned,
  indexDigestOf,
  indexed,
  network,
  offer,
  offerPack,
  packPath,
  weights,
  type PublishedFile,
} from './networks.js';

const layers = { ...weights('a', 150_000, 1), ...weights('b', 90_000, 2), ...weights('c', 12_000, 3) };
const base = network(layers);
const target = network(fineTuned(layers, 1e-3));
/** One tensor is new, the others stay. */
const headChanged = network({ ...layers, ...weights('c', 12_000, 4) });

function noiseOf(bytes: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  return new Uint8Array(Uint32Array.from({ length: Math.ceil(bytes / 4) }, () => random.nextInt(2 ** 32)).buffer);
}

let dataDir: string;
let server: ReleaseServer;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'drover-deliver-'));
  server = await releaseServer();
  for (const file of [base, target, headChanged]) offer(server, file);
});
afterEach(async () => {
  await server.close();
  await rm(dataDir, { recursive: true, force: true });
});

const openStore = (killPoint: KillPoint = () => undefined) =>
  ReleaseStore.open({
    dataDir,
    gate: createWriteGate(killPoint),
    diskFreeBytes: () => Promise.resolve(1e12),
  });

async function deliver(
  file: PublishedFile = target,
  killPoint?: KillPoint,
  signal = new AbortController().signal,
  change: Partial<ReleaseSource> = {},
) {
  const store = await openStore(killPoint);
  const clock = virtualClock();
  const delivery = await deliverFile(file.reference, {
    source: {
      ...httpReleaseSource({ controlPlaneUrl: server.url, deviceId: device, credential, idleTimeoutMs: 2_000 }),
      ...change,
    },
    store,
    clock,
    retry: { firstMs: 10, maxMs: 100, giveUpAfterMs: 2_000 },
    bandwidth: new Bandwidth(DEFAULT_LIMITS, clock),
    priority: 'large',
    signal,
  });
  expect((await readFile(store.blobFile(file.reference.digest))).equals(file.content)).toBe(true);
  expect(await readdir(store.layout.incoming)).toEqual([]);
  return delivery;
}

/** The base as the last update left it. */
async function haveBase(file: PublishedFile = base): Promise<void> {
  const store = await openStore();
  await writeFile(store.blobFile(file.reference.digest), file.content);
  await writeFile(store.blobFile(indexDigestOf(file)), file.encodedIndex);
}

describe('when a file with an index is delivered', () => {
  it('comes as a delta to what is on the device, in three requests', async () => {
    await haveBase();
    const { directory } = await offerPack(server, target, base);
    const delivery = await deliver();
    expect(delivery.received).toBeLessThan(0.55 * target.content.length);
    expect(delivery.how).toMatch(/^delta to sha256:/);
    expect(server.requests).toEqual([
      `/api/v1/device/blobs/${digestHex(indexDigestOf(target))}`,
      `/api/v1/device/${directoryPath(target, base)}`,
      `/api/v1/device/${packPath(directory)} bytes=0-${directory.bytes - 1}`,
    ]);
  });

  it('fetches only the tensor that changed', async () => {
    await haveBase();
    await offerPack(server, headChanged, base);
    const { received } = await deliver(headChanged);
    expect(received).toBeLessThan(0.06 * headChanged.content.length);
  });

  it('asks for no pack where the source lies on this disk', async () => {
    await offerPack(server, target);
    const { how } = await deliver(target, undefined, undefined, { isLocal: () => true });
    expect(how).toBe('plain chunks');
    expect(server.requests.filter((request) => request.includes('pack'))).toEqual([]);
  });

  it('comes compressed where there is no base', async () => {
    await offerPack(server, target);
    const delivery = await deliver();
    expect(delivery).toMatchObject({ how: 'compressed' });
    expect(delivery.received).toBeLessThan(0.85 * target.content.length);
  });

  it.each([
    ['the control plane has no packs', undefined],
    ['the control plane is at fault', 500],
  ])('comes in plain chunks, and says why, where %s', async (_what, status) => {
    await haveBase();
    server.fault = (request, response) => {
      if (status === undefined || !request.url?.includes('pack-directories')) return false;
      response.writeHead(status).end();
      return true;
    };
    const delivery = await deliver();
    expect(delivery.how).toBe('plain chunks; no delta to be had; no compressed chunks to be had');
    const whole = target.content.length + target.encodedIndex.length;
    expect(delivery.received).toBeLessThanOrEqual(whole);
    expect(delivery.received).toBeGreaterThan(whole - 100);
  });

  it('costs next to nothing when the same tensors lie in another order and under other names', async () => {
    await haveBase();
    const same = network({
      0: layers['b'] as Float32Array,
      1: layers['a'] as Float32Array,
      2: layers['c'] as Float32Array,
    });
    offer(server, same);
    await offerPack(server, same, base);
    const { received } = await deliver(same);
    expect(received).toBeLessThan(same.encodedIndex.length + 2_000);
  });

  it('never takes more bytes than the plain file, whatever is in it', async () => {
    const contents = fc.record({
      bytes: fc.integer({ min: 70_000, max: 600_000 }),
      seed: fc.integer(),
      kind: fc.constantFrom('noise', 'weights', 'text'),
      hasBase: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(contents, async ({ bytes, seed, kind, hasBase }) => {
        await rm(dataDir, { recursive: true, force: true });
        if (hasBase) await haveBase();
        const file = publishedAs(kind, bytes, seed);
        offer(server, file);
        await offerPack(server, file, base);
        await offerPack(server, file);
        const { received } = await deliver(file);
        expect(received).toBeLessThanOrEqual(file.content.length);
        expect(file.reference.index === undefined).toBe(kind === 'noise');
      }),
      { numRuns: 20 },
    );
  });
});

/** With an index where the publisher finds it worth it. */
function publishedAs(kind: string, bytes: number, seed: number): PublishedFile {
  if (kind === 'weights') return network(weights('x', Math.ceil(bytes / 4), seed));
  const noise = noiseOf(bytes, seed);
  const file = indexed(kind === 'noise' ? noise : Buffer.from(Buffer.from(noise).toString('hex')));
  const source = memorySource(file.content);
  if (isWorthAnIndex(source, buildChunkIndex(source))) return file;
  const { index: _, ...reference } = file.reference;
  return { ...file, reference };
}

describe('when something is wrong on the way', () => {
  it('makes good a damaged pack with the plain chunk', async () => {
    await haveBase();
    const { directory, pack } = await offerPack(server, target, base);
    const damaged = Buffer.from(pack);
    damaged[1000] = (damaged[1000] ?? 0) ^ 1;
    server.put(packPath(directory), damaged);
    const { how, received } = await deliver();
    expect(how).toContain('a compressed chunk was wrong');
    expect(received).toBeLessThan(target.content.length);
  });

  it('makes good a damaged base', async () => {
    await haveBase({ ...base, content: Buffer.alloc(base.content.length, 1) });
    await offerPack(server, headChanged, base);
    expect((await deliver(headChanged)).how).toContain('a file on this disk is damaged');
  });

  it('takes a directory that lies for none', async () => {
    await haveBase();
    await offerPack(server, headChanged, base);
    const { directory } = await offerPack(server, target, base);
    server.put(directoryPath(target, base), await readDirectoryOf(headChanged));
    expect((await deliver()).how).toContain('no delta to be had');
    expect(server.requests.some((request) => request.includes(packPath(directory)))).toBe(false);
  });

  const readDirectoryOf = async (file: typeof target) => {
    const answer = await fetch(`${server.url}/api/v1/device/${directoryPath(file, base)}`, {
      headers: { authorization: `Basic ${Buffer.from(`${device}:${credential}`).toString('base64')}` },
    });
    return new Uint8Array(await answer.arrayBuffer());
  };

  it('goes on in plain chunks when the pack is dropped meanwhile', async () => {
    await haveBase();
    const { directory } = await offerPack(server, target, base);
    server.put(packPath(directory), undefined);
    expect((await deliver()).how).toContain('the pack is gone');
  });

  it('goes on in plain chunks when the pack ends before its directory says', async () => {
    await haveBase();
    const { directory } = await offerPack(server, target, base);
    server.fault = (request, response, body) => {
      if (!request.url?.includes(packPath(directory))) return false;
      const from = Number(/(\d+)-/.exec(request.headers.range ?? '')?.[1]);
      const part = body.subarray(from, 200_000);
      if (part.length === 0) response.writeHead(416, { 'content-range': 'bytes */200000' }).end();
      else response.writeHead(206, { 'content-range': `bytes ${from}-199999/200000` }).end(part);
      return true;
    };
    const { how, received } = await deliver();
    expect(how).toContain('the pack is gone or damaged');
    expect(received).toBeLessThan(target.content.length);
  });

  it('ends with a code when the server gives out another file', async () => {
    server.replace(target.reference.digest, Buffer.alloc(target.content.length, 7));
    await expect(deliver()).rejects.toMatchObject({ code: 'FETCH_DIGEST_MISMATCH' });
  });

  it('ends with a code when the index is that of another file', async () => {
    const { index } = headChanged.reference;
    await expect(
      deliver({ ...target, reference: { ...target.reference, ...(index && { index }) } }),
    ).rejects.toMatchObject({
      code: 'FETCH_DIGEST_MISMATCH',
    });
  });
});

describe('when the connection breaks', () => {
  it('loses nothing, wherever it breaks', async () => {
    await haveBase();
    const { directory, pack } = await offerPack(server, target, base);
    let cuts = 0;
    let sent = 0;
    server.fault = (request, response, body) => {
      if (!request.url?.includes(packPath(directory)) || cuts >= 25) return false;
      cuts += 1;
      const from = Number(/(\d+)-/.exec(request.headers.range ?? '')?.[1]);
      const part = body.subarray(from, from + 7_001 * cuts);
      sent += part.length;
      // Ended in good order, so that all of it arrives: what a reset takes with it is not the device's to save.
      response.writeHead(206, { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` }).end(part);
      return true;
    };
    await deliver();
    expect(cuts).toBeGreaterThan(10);
    const rest = server.requests.at(-1)?.match(/bytes=(\d+)-(\d+)/);
    const last = rest ? Number(rest[2]) - Number(rest[1]) + 1 : 0;
    // Each byte once: what was received of a frame is not asked for again.
    expect(sent + (cuts < 25 ? 0 : last)).toBe(pack.length);
  });
});

describe('when the agent is killed', () => {
  it('goes on after a kill at every single write, and never fetches a written chunk again', async () => {
    await haveBase();
    await offerPack(server, target, base);
    const names = new Set<string>();
    for (let at = 0; ; at++) {
      const fuse = new Fuse(at);
      await deliver(target, fuse.pass).catch(ignoreCut);
      for (const name of fuse.names) names.add(name.split(':')[0] ?? '');
      if (!fuse.isBlown) break;
      const store = await openStore();
      await rm(store.blobFile(target.reference.digest), { force: true });
    }
    expect([...names].sort()).toEqual(['blob', 'chunk', 'directory', 'partial']);
    const starts = server.requests.flatMap((request) => /packs.* bytes=(\d+)/.exec(request)?.[1] ?? []).map(Number);
    expect(starts.length).toBeGreaterThan(2);
    expect(starts).toEqual([...starts].sort((left, right) => left - right));
  });

  it('cuts off what a power cut left behind the last whole chunk', async () => {
    await haveBase();
    await offerPack(server, target, base);
    const store = await openStore();
    const partial = store.partialFile(target.reference.digest);
    await writeFile(partial, target.content.subarray(0, 700_000));
    await appendFile(partial, Buffer.alloc(100_000));
    await deliver();
    const start = Number(/bytes=(\d+)-/.exec(server.requests.at(-1) ?? '')?.[1]);
    expect(start).toBeGreaterThan(0);
  });

  it('takes garbage in the spool for nothing', async () => {
    await haveBase();
    const { directory } = await offerPack(server, target, base);
    const store = await openStore();
    const name = Buffer.alloc(40);
    name.write(digestHex(directory.pack), 'hex');
    await writeFile(store.spoolFile(target.reference.digest), Buffer.concat([name, Buffer.alloc(500, 9)]));
    expect((await deliver()).how).toContain('a compressed chunk was wrong');
  });
});
