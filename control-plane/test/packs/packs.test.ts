import { createHash } from 'node:crypto';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  buildChunkIndex,
  decodeFrame,
  decodePackDirectory,
  elementsOf,
  encodeChunkIndex,
  memorySource,
  type ChunkIndex,
} from '@drover/shared/delivery';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { encodeOnnx, floatTensor, graph, model } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';
import { createKeyPair } from '@drover/shared/trust';
import { openPacks, PackError, type PackOptions } from '../../src/packs/index.js';
import {
  enrolmentOf,
  errorCode,
  post,
  startFixture,
  type Answer,
  type ControlPlaneFixture,
} from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
let headers: Record<string, string>;
beforeEach(async () => {
  fixture = await startFixture();
  headers = await enrolledDevice();
});
afterEach(() => fixture.close());

async function enrolledDevice(): Promise<Record<string, string>> {
  const token = (await post(fixture, 'operator', '/claim-tokens', { attributes: {}, ttlMs: 60_000 })).json();
  const { claimToken } = token as { claimToken: string };
  const payload = enrolmentOf(createKeyPair(), claimToken, 'device-1');
  const answer = await fixture.app.inject({ method: 'POST', url: '/api/v1/enrolments', payload });
  const { credential } = answer.json<{ credential: string }>();
  return { authorization: `Basic ${Buffer.from(`device-1:${credential}`).toString('base64')}` };
}

interface Stored {
  readonly content: Uint8Array;
  readonly index: ChunkIndex;
  readonly indexDigest: Digest;
}

async function store(content: Uint8Array, index = buildChunkIndex(memorySource(content))): Promise<Stored> {
  const encoded = encodeChunkIndex(index);
  for (const bytes of [content, encoded]) await fixture.blobs.put(digestOf(bytes), Readable.from([bytes]));
  return { content, index, indexDigest: digestOf(encoded) };
}

function network(change: (weight: number, name: string) => number): Uint8Array {
  const random = seededRandom(5);
  const initializers = ['a', 'b'].map((name) =>
    floatTensor(
      name,
      [60_000],
      Float32Array.from({ length: 60_000 }, () => change(random.normal() * 0.05, name)),
    ),
  );
  const parts = { name: 'net', inputs: [], outputs: [], nodes: [], initializers };
  return encodeOnnx(model({ opset: 17, graph: graph(parts) }));
}
const noise = seededRandom(6);
const base = network((weight) => weight);
const tuned = network((weight, name) => (name === 'a' ? weight : weight * (1 + 1e-3 * noise.normal())));

const get = (url: string, more: Record<string, string> = {}): Promise<Answer> =>
  fixture.app.inject({ url: `/api/v1/device/${url}`, headers: { ...headers, ...more } });
const directoryOf = (target: Digest, from?: Digest) =>
  get(`pack-directories/${digestHex(target)}${from ? `/from/${digestHex(from)}` : ''}`);

describe('when a device asks for a delta', () => {
  it('gets frames that make the file from its base, under a name that never changes', async () => {
    const [old, target] = [await store(base), await store(tuned)];
    const answer = await directoryOf(target.indexDigest, old.indexDigest);
    expect(answer.statusCode).toBe(200);
    const expected = {
      index: target.index,
      target: target.indexDigest,
      base: { file: digestOf(base), bytes: base.length },
    };
    const { pack, bytes, entries } = decodePackDirectory(answer.rawPayload, expected);
    expect(bytes).toBeLessThan(0.3 * tuned.length);
    const whole = await get(`packs/${digestHex(pack)}`);
    expect(digestOf(whole.rawPayload)).toBe(pack);
    expect(whole.headers).toMatchObject({
      etag: `"${digestHex(pack)}"`,
      'cache-control': 'public, max-age=31536000, immutable',
      'accept-ranges': 'bytes',
    });
    const packed = new Set(entries.map(({ chunk }) => chunk));
    const known = new Set(old.index.chunks.map(({ hex }) => hex));
    for (const [number, { hex }] of target.index.chunks.entries()) expect(packed.has(number)).toBe(!known.has(hex));
    for (const { chunk: number, transform, offset, bytes: length, baseOffset } of entries) {
      const range = await get(`packs/${digestHex(pack)}`, { range: `bytes=${offset}-${offset + length - 1}` });
      expect(range.statusCode).toBe(206);
      const chunk = target.index.chunks[number];
      if (!chunk) throw new Error('no such chunk');
      const { start, end } = elementsOf(chunk);
      const elements = baseOffset === undefined ? undefined : base.subarray(baseOffset, baseOffset + end - start);
      const content = await decodeFrame({ transform, bytes: range.rawPayload }, chunk, elements);
      expect(createHash('sha256').update(content).digest('hex')).toBe(chunk.hex);
    }
  });

  it('gets the same answer again without a second computation, also after a restart', async () => {
    const [old, target] = [await store(base), await store(tuned)];
    const first = await directoryOf(target.indexDigest, old.indexDigest);
    const again = await reopened({});
    try {
      expect((await again.directory(target.indexDigest, old.indexDigest)).equals(first.rawPayload)).toBe(true);
    } finally {
      await again.close();
    }
  });

  it('is told when there is none to be had', async () => {
    const target = await store(tuned);
    const nothing = digestOf(Buffer.from('nothing'));
    for (const answer of [
      await directoryOf(nothing),
      await directoryOf(target.indexDigest, nothing),
      await directoryOf(target.index.file),
      await get(`packs/${digestHex(nothing)}`),
    ]) {
      expect([answer.statusCode, errorCode(answer)]).toEqual([404, 'PACK_UNKNOWN']);
    }
    const strangers = await fixture.app.inject({ url: `/api/v1/device/packs/${digestHex(nothing)}` });
    expect(strangers.statusCode).toBe(401);
  });

  it('gets none of a file whose index is not its own', async () => {
    const lying = await store(tuned, {
      ...buildChunkIndex(memorySource(base)),
      file: digestOf(tuned),
      bytes: tuned.length,
    });
    const reported: unknown[] = [];
    const packs = await reopened({ onError: (error) => void reported.push(error) });
    try {
      await expect(packs.directory(lying.indexDigest)).rejects.toMatchObject({ code: 'PACK_UNKNOWN' });
      expect(reported).toMatchObject([{ code: 'CHUNK_INDEX_INVALID' }]);
    } finally {
      await packs.close();
    }
  });
});

const reopened = (change: Partial<PackOptions>) =>
  openPacks({
    blobs: fixture.blobs,
    folder: join(fixture.directory, 'packs'),
    maxCacheBytes: 1e9,
    maxComputing: 1,
    onError: (error) => {
      throw error;
    },
    ...change,
  });

/** As a device that was told to come again. */
async function again(error: unknown): Promise<undefined> {
  if (!(error instanceof PackError) || error.code !== 'PACK_BUSY') throw error;
  await pause(10);
}

describe('when many ask at once', () => {
  it('makes one pack for all, and tells those who would wait too long to come again', async () => {
    const [old, target] = [await store(base), await store(tuned)];
    const packs = await reopened({ folder: join(fixture.directory, 'other'), maxWaitMs: 0 });
    try {
      const asked = Array.from({ length: 5 }, () => packs.directory(target.indexDigest, old.indexDigest));
      for (const one of await Promise.allSettled(asked)) {
        expect(one).toMatchObject({ status: 'rejected', reason: { code: 'PACK_BUSY', retryable: true } });
      }
      let ready: Buffer | undefined;
      while (!ready) ready = await packs.directory(target.indexDigest, old.indexDigest).catch(again);
      expect(ready.length).toBeGreaterThan(100);
      expect(readdirSync(join(fixture.directory, 'other'))).toHaveLength(2);
    } finally {
      await packs.close();
    }
  });
});

describe('when the cache is full', () => {
  it('drops what was used the longest ago, and makes it again', async () => {
    const [old, target] = [await store(base), await store(tuned)];
    const packs = await reopened({ folder: join(fixture.directory, 'small'), maxCacheBytes: 600_000 });
    const names = () => readdirSync(join(fixture.directory, 'small')).filter((name) => name.endsWith('.directory'));
    try {
      await packs.directory(old.indexDigest);
      await packs.directory(target.indexDigest);
      expect(names()).toEqual([`${digestHex(target.indexDigest)}-whole.directory`]);
      await packs.directory(old.indexDigest);
      expect(names()).toEqual([`${digestHex(old.indexDigest)}-whole.directory`]);
    } finally {
      await packs.close();
    }
  });

  it('makes no pack that exceeds it', async () => {
    const target = await store(tuned);
    const packs = await reopened({ folder: join(fixture.directory, 'tiny'), maxCacheBytes: 1000 });
    try {
      await expect(packs.directory(target.indexDigest)).rejects.toMatchObject({ code: 'PACK_UNKNOWN' });
      expect(readdirSync(join(fixture.directory, 'tiny'))).toEqual([]);
    } finally {
      await packs.close();
    }
  });
});

describe('when the cache was damaged', () => {
  it('drops what is of no use at the next start', async () => {
    const target = await store(tuned);
    await directoryOf(target.indexDigest);
    const folder = join(fixture.directory, 'packs');
    for (const name of readdirSync(folder)) if (name.endsWith('.pack')) rmSync(join(folder, name));
    writeFileSync(join(folder, 'left.tmp'), 'x');
    writeFileSync(join(folder, `${'0'.repeat(64)}.pack`), 'x');
    const packs = await reopened({});
    try {
      expect(readdirSync(folder)).toEqual([]);
      expect((await packs.directory(target.indexDigest)).length).toBeGreaterThan(100);
    } finally {
      await packs.close();
    }
  });
});

describe('when a device takes brotli', () => {
  it('gets a small file compressed under a tag of its own, and a range of it plain', async () => {
    const text = Buffer.from(JSON.stringify(Array.from({ length: 2000 }, (_, index) => ({ index, label: 'gas' }))));
    await fixture.blobs.put(digestOf(text), Readable.from([text]));
    const url = `blobs/${digestHex(digestOf(text))}`;
    const encoded = await get(url, { 'accept-encoding': 'br' });
    expect(encoded.headers).toMatchObject({
      'content-encoding': 'br',
      vary: 'accept-encoding',
      etag: `"${digestHex(digestOf(text))}-br"`,
    });
    expect(encoded.rawPayload.length).toBeLessThan(text.length / 4);
    for (const more of [{ range: 'bytes=0-', 'accept-encoding': 'br' }, { 'accept-encoding': 'gzip, br;q=0' }]) {
      const plain = await get(url, more);
      expect(plain.headers['content-encoding']).toBeUndefined();
      expect(plain.rawPayload.equals(text)).toBe(true);
    }
  });
});
