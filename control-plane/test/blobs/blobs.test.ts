import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { createKeyPair } from '@drover/shared/trust';
import { toStoreError } from '../../src/blobs/errors.js';
import { parseRange } from '../../src/blobs/index.js';
import {
  enrolmentOf,
  errorCode,
  post,
  startFixture,
  upload,
  type ControlPlaneFixture,
} from '../control-plane-fixture.js';

let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const bytes = randomBytes(5000);
const hex = createHash('sha256').update(bytes).digest('hex');

async function deviceHeaders(id = 'device-1'): Promise<Record<string, string>> {
  const { claimToken } = (
    await post(fixture, 'operator', '/claim-tokens', { attributes: {}, ttlMs: 60_000 })
  ).json() as { claimToken: string };
  const answer = await fixture.app.inject({
    method: 'POST',
    url: '/api/v1/enrolments',
    payload: enrolmentOf(createKeyPair(), claimToken, id),
  });
  const { credential } = answer.json<{ credential: string }>();
  return { authorization: `Basic ${Buffer.from(`${id}:${credential}`).toString('base64')}` };
}

const incoming = () => readdirSync(join(fixture.directory, 'blobs', 'incoming'));

describe('when a file is uploaded', () => {
  it('is stored once, under the digest of its bytes', async () => {
    expect((await upload(fixture, bytes)).statusCode).toBe(201);
    expect((await upload(fixture, bytes)).statusCode).toBe(200);
    const head = await fixture.app.inject({
      method: 'HEAD',
      url: `/api/v1/blobs/${hex}`,
      headers: await fixture.token('publisher'),
    });
    expect([head.statusCode, head.headers['content-length']]).toEqual([200, '5000']);
    expect(incoming()).toEqual([]);
  });

  it('is refused under another digest, and leaves nothing behind', async () => {
    const answer = await upload(fixture, bytes, digestOf(Buffer.from('other')));
    expect([answer.statusCode, errorCode(answer)]).toEqual([422, 'BLOB_DIGEST_MISMATCH']);
    expect(incoming()).toEqual([]);
    expect(await fixture.blobs.bytesOf(digestOf(bytes))).toBeUndefined();
    expect(await fixture.blobs.bytesOf(digestOf(Buffer.from('other')))).toBeUndefined();
  });

  it('is refused above the limit, while streaming', async () => {
    const answer = await upload(fixture, randomBytes(1024 * 1024 + 1));
    expect([answer.statusCode, errorCode(answer)]).toEqual([413, 'BLOB_TOO_LARGE']);
    expect(incoming()).toEqual([]);
  });

  it('is refused as JSON', async () => {
    const answer = await fixture.app.inject({
      method: 'PUT',
      url: `/api/v1/blobs/${hex}`,
      headers: await fixture.token('publisher'),
    });
    expect([answer.statusCode, errorCode(answer)]).toEqual([415, 'REQUEST_MEDIA_TYPE']);
  });

  it('leaves nothing behind when the sender goes away', async () => {
    const broken = new Readable({ read: () => undefined });
    broken.push(bytes.subarray(0, 100));
    queueMicrotask(() => broken.destroy(new Error('connection reset')));
    await expect(fixture.blobs.put(digestOf(bytes), broken)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_BROKEN' });
    expect(incoming()).toEqual([]);
  });
});

describe('when the disk is full', () => {
  it('says so', () => {
    // The kernel answers every write to this device with ENOSPC.
    const full = openSync('/dev/full', 'w');
    let thrown: unknown;
    try {
      writeSync(full, 'x');
    } catch (error) {
      thrown = error;
    } finally {
      closeSync(full);
    }
    expect(toStoreError('/data/blobs', thrown)).toMatchObject({
      code: 'BLOB_DISK_FULL',
      where: '/data/blobs',
      cause: thrown,
    });
  });
});

describe('when a device fetches a file', () => {
  it('gets all of it, or the range that it asks for', async () => {
    await upload(fixture, bytes);
    const headers = await deviceHeaders();
    const url = `/api/v1/device/blobs/${hex}`;
    const whole = await fixture.app.inject({ url, headers });
    expect([whole.statusCode, whole.headers['etag'], whole.headers['accept-ranges']]).toEqual([
      200,
      `"${hex}"`,
      'bytes',
    ]);
    expect(whole.rawPayload.equals(bytes)).toBe(true);

    const part = await fixture.app.inject({
      url,
      headers: { ...headers, range: 'bytes=4000-', 'if-range': `"${hex}"` },
    });
    expect([part.statusCode, part.headers['content-range'], part.headers['content-length']]).toEqual([
      206,
      'bytes 4000-4999/5000',
      '1000',
    ]);
    expect(part.rawPayload.equals(bytes.subarray(4000))).toBe(true);

    const foreign = await fixture.app.inject({
      url,
      headers: { ...headers, range: 'bytes=4000-', 'if-range': '"other"' },
    });
    expect([foreign.statusCode, foreign.rawPayload.length]).toEqual([200, 5000]);

    const known = await fixture.app.inject({ url, headers: { ...headers, 'if-none-match': `"${hex}"` } });
    expect([known.statusCode, known.rawPayload.length]).toEqual([304, 0]);

    for (const tags of [`W/"${hex}"`, `"other", "${hex}"`, '*']) {
      const again = await fixture.app.inject({ url, headers: { ...headers, 'if-none-match': tags } });
      expect([tags, again.statusCode]).toEqual([tags, 304]);
    }

    const head = await fixture.app.inject({ method: 'HEAD', url, headers });
    expect([head.statusCode, head.headers['content-length']]).toEqual([200, '5000']);

    const beyond = await fixture.app.inject({ url, headers: { ...headers, range: 'bytes=5000-' } });
    expect([beyond.statusCode, errorCode(beyond), beyond.headers['content-range']]).toEqual([
      416,
      'BLOB_RANGE_INVALID',
      'bytes */5000',
    ]);
  });

  it('is told when there is no such file', async () => {
    const answer = await fixture.app.inject({ url: `/api/v1/device/blobs/${hex}`, headers: await deviceHeaders() });
    expect([answer.statusCode, errorCode(answer)]).toEqual([404, 'BLOB_UNKNOWN']);
  });
});

describe('when a Range header is read', () => {
  it('never leaves the file, and gives what was asked for (RFC 9110, section 14.1.2)', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1500), fc.nat(1500), (size, first, last) => {
        if (first < size) expect(parseRange(`bytes=${first}-`, size)).toEqual({ start: first, end: size - 1 });
        else expect(() => parseRange(`bytes=${first}-`, size)).toThrow();
        if (last > 0 && size > 0)
          expect(parseRange(`bytes=-${last}`, size)).toEqual({ start: Math.max(0, size - last), end: size - 1 });
        if (first <= last && first < size)
          expect(parseRange(`bytes=${first}-${last}`, size)).toEqual({ start: first, end: Math.min(last, size - 1) });
      }),
    );
  });

  it('is passed over when it is malformed, reversed or a list', () => {
    for (const header of [undefined, 'bytes=', 'bytes=-', 'bytes=5-2', 'bytes=0-1,4-5', 'items=0-1', 'bytes=a-b']) {
      expect(parseRange(header, 100)).toBeUndefined();
    }
    expect(() => parseRange('bytes=-0', 100)).toThrow();
  });
});
