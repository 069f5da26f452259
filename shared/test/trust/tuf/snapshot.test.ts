import { describe, expect, it } from 'vitest';
import { toExpiry } from '../../../src/trust/tuf/simulator/index.js';
import { DAY_MS, expectRefusal, heldVersions, nowMs, PATH, settledWorld, tamper } from './fixture.js';

describe('5.5 update the snapshot', () => {
  it('5.5.1 needs the one that the timestamp lists, and has the timestamp by then', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.publish('snapshot', 'timestamp');
    repository.files.delete('3.snapshot.json');
    await expectRefusal(client.refresh(online), 'TUF_NOT_FOUND', '5.5.1');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 3, snapshot: 2 });
  });

  it('5.5.1 asks for as many bytes as are listed, and for no more than the role may have', async () => {
    const { repository, online, client } = await settledWorld({ listHashes: true, limits: { maxSnapshotBytes: 4096 } });
    const asked: number[] = [];
    const fetcher = {
      fetch: (name: string, options: { maxBytes: number; signal: AbortSignal }) => {
        if (name.endsWith('snapshot.json')) asked.push(options.maxBytes);
        return repository.fetcher.fetch(name, options);
      },
    };
    repository.publish('snapshot', 'timestamp');
    await client.refresh({ ...online, fetcher });
    expect(asked).toEqual([repository.files.get('3.snapshot.json')?.length]);

    repository.publish('snapshot');
    repository.timestamp.meta['snapshot.json'].length = 5000;
    repository.publish('timestamp');
    await expectRefusal(client.refresh({ ...online, fetcher }), 'TUF_TOO_LARGE', '5.5.1');
    expect(asked).toHaveLength(1);
  });

  it('5.5.1 stops at a snapshot that is longer than listed', async () => {
    const settled = await settledWorld({ listHashes: true });
    settled.repository.publish('snapshot', 'timestamp');
    tamper(settled, '3.snapshot.json', (text) => text + ' '.repeat(100_000));
    await expectRefusal(settled.client.refresh(settled.online), 'TUF_TOO_LARGE', '5.5.1');
  });

  it.each([
    ['another hash', { sha256: '0'.repeat(64) }],
    ['one right hash and one of an unknown kind', { 'md5-but-better': '0'.repeat(64) }],
    ['a hash under an inherited name', { constructor: '0'.repeat(64) }],
  ])('5.5.2 refuses %s', async (_, hashes) => {
    const { repository, online, client, cache } = await settledWorld({ listHashes: true });
    repository.publish('snapshot');
    const meta = repository.timestamp.meta['snapshot.json'];
    meta.hashes = { ...meta.hashes, ...hashes };
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_MIX_AND_MATCH', '5.5.2');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 3, snapshot: 2 });
  });

  it('5.5.2 refuses another snapshot of the listed version, though the true keys signed it', async () => {
    const { repository, online, client } = await settledWorld({ listHashes: true });
    repository.publish('snapshot', 'timestamp');
    repository.snapshot.meta['other.json'] = { version: 1 };
    repository.serve('snapshot');
    const refusal = await expectRefusal(client.refresh(online), 'TUF_TOO_LARGE', '5.5.1');
    expect(refusal.fault).toBe('peer');
    delete repository.snapshot.meta['other.json'];
    repository.snapshot.expires = toExpiry(nowMs + 77 * DAY_MS);
    repository.serve('snapshot');
    await expectRefusal(client.refresh(online), 'TUF_MIX_AND_MATCH', '5.5.2');
  });

  it('5.5.2 does not take the cached one for another of the same version', async () => {
    const { repository, online, client, cache } = await settledWorld({ listHashes: true });
    repository.snapshot.expires = toExpiry(nowMs + 77 * DAY_MS);
    repository.serve('snapshot');
    repository.publish('timestamp');
    await client.refresh(online);
    expect(repository.requests).toContain('2.snapshot.json');
    expect(Buffer.from(cache.entries.get('snapshot.json') ?? []).toString()).toContain(repository.snapshot.expires);
  });

  it('5.5.3 refuses one that another key signed', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.signers.set('snapshot', repository.signers.get('timestamp') ?? []);
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.5.3');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 3, snapshot: 2 });
  });

  it.each([2, 4])('5.5.4 refuses version %i where the timestamp lists 3', async (version) => {
    const { repository, online, client } = await settledWorld();
    repository.snapshot.version = version;
    repository.serve('snapshot', 3);
    repository.timestamp.meta['snapshot.json'] = { version: 3 };
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_MIX_AND_MATCH', '5.5.4');
  });

  it.each([
    ['a lower version of targets', 'targets.json', 1],
    ['a lower version of a delegated role', 'gas.json', 1],
    ['no targets any more', 'targets.json', undefined],
    ['a delegated role no more', 'gas.json', undefined],
  ])('5.5.5 refuses a snapshot that lists %s', async (_, name, version) => {
    const { repository, online, client, cache } = await settledWorld();
    repository.publish('gas', 'targets', 'snapshot', 'timestamp');
    await client.refresh(online);
    if (version === undefined) Reflect.deleteProperty(repository.snapshot.meta, name);
    else repository.snapshot.meta[name] = { version };
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.5.5');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 4, snapshot: 3, targets: 3 });
  });

  it('5.5.5 refuses a lower snapshot also when the timestamp was lost', async () => {
    const { repository, online, client, cache, open } = await settledWorld();
    repository.publish('snapshot', 'timestamp');
    await client.refresh(online);
    cache.entries.delete('timestamp.json');
    repository.snapshot.version = 2;
    repository.serve('snapshot');
    repository.publish('timestamp');
    await expectRefusal(open().refresh(online), 'TUF_ROLLBACK', '5.5.5');
  });

  it('5.5.5 holds an expired snapshot against a rollback, also after a restart', async () => {
    const { repository, online, client, open } = await settledWorld();
    repository.snapshot.expires = toExpiry(nowMs + DAY_MS);
    repository.publish('gas', 'targets', 'snapshot', 'timestamp');
    await client.refresh(online);
    repository.snapshot.expires = toExpiry(nowMs + 9 * DAY_MS);
    repository.snapshot.meta['gas.json'] = { version: 1 };
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(open().refresh({ ...online, nowMs: nowMs + 2 * DAY_MS }), 'TUF_ROLLBACK', '5.5.5');
  });

  it.each([
    ['the day before', nowMs - DAY_MS],
    ['at this very moment', nowMs],
  ])('5.5.6 refuses one that expired %s', async (_, expiresMs) => {
    const { repository, online, client, cache } = await settledWorld();
    repository.snapshot.expires = toExpiry(expiresMs);
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_EXPIRED', '5.5.6');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 3, snapshot: 2 });
    // What it has does not belong to the timestamp any more, so it is no base for an answer.
    await expectRefusal(client.target(PATH, online), 'TUF_NOT_CACHED', '5.5.4');
  });

  it('5.5.6 does not end with the cached snapshot when it expired meanwhile', async () => {
    const { repository, online, client, open } = await settledWorld();
    repository.snapshot.expires = toExpiry(nowMs + DAY_MS);
    repository.publish('snapshot', 'timestamp');
    await client.refresh(online);
    await expectRefusal(open().refresh({ ...online, nowMs: nowMs + 2 * DAY_MS }), 'TUF_EXPIRED', '5.5.6');
  });

  it('5.5.7 persists the bytes as they came', async () => {
    const settled = await settledWorld();
    settled.repository.publish('snapshot', 'timestamp');
    tamper(settled, '3.snapshot.json', (text) => `${text} `);
    await settled.client.refresh(settled.online);
    const kept = Buffer.from(settled.cache.entries.get('snapshot.json') ?? []);
    expect(kept.equals(settled.repository.files.get('3.snapshot.json') ?? Buffer.alloc(0))).toBe(true);
  });
});
