import { describe, expect, it } from 'vitest';
import { RepositoryClient, signMetadata } from '../../../src/trust/tuf/index.js';
import { createSigner, MemoryCache, RepositorySimulator, toExpiry } from '../../../src/trust/tuf/simulator/index.js';
import { DAY_MS, expectRefusal, heldVersions, nowMs, PATH, settledWorld, tamper, world } from './fixture.js';

const open =
  (pinnedRoot: Uint8Array, cache = new MemoryCache()) =>
  () =>
    new RepositoryClient({ pinnedRoot, cache });

describe('5.2 load the trusted root', () => {
  it.each([
    ['is not JSON', () => Buffer.from('no root')],
    ['is empty', () => new Uint8Array()],
    ['lacks its version', (root: string) => Buffer.from(root.replace('"version":1,', ''))],
    ['is signed by another key', (root: string) => Buffer.from(root.replace(/"sig":"../, '"sig":"00'))],
  ])('refuses a pinned root that %s', (_, change) => {
    const pinned = change(Buffer.from(new RepositorySimulator({ nowMs }).pinnedRoot).toString());
    expect(open(pinned)).toThrow(expect.objectContaining({ code: 'TUF_ANCHOR_INVALID', section: '5.2' }));
  });

  it('starts from a pinned root that has expired, because a newer one may be there', async () => {
    const { repository, online } = world();
    repository.root.expires = toExpiry(nowMs - DAY_MS);
    const pinnedRoot = signMetadata(repository.root, repository.signers.get('root') ?? []);
    repository.root.expires = toExpiry(nowMs + DAY_MS);
    repository.publish('root');
    const client = open(pinnedRoot)();
    await client.refresh(online);
    expect(client.root.version).toBe(2);
  });

  it('never uses cached roots of another repository, nor what they vouched for', async () => {
    const { cache } = await settledWorld();
    const other = new RepositorySimulator({ nowMs });
    const client = open(other.pinnedRoot, cache)();
    expect(client.status(nowMs)).toMatchObject({ timestamp: undefined, stale: { code: 'TUF_NOT_CACHED' } });
    await client.refresh({ fetcher: other.fetcher, nowMs, signal: new AbortController().signal });
    expect(heldVersions(cache)).toMatchObject({ root: 1, timestamp: 1, snapshot: 1, targets: 1 });
  });

  it('goes on from the cached root when a newer root was pinned, without forgetting what it saw', async () => {
    const { repository, cache, online, client } = await settledWorld();
    repository.publish('root', 'root', 'root', 'timestamp');
    await client.refresh(online);
    const upgraded = open(repository.files.get('3.root.json') ?? new Uint8Array(), cache)();
    expect(upgraded.root.version).toBe(4);
    expect(upgraded.status(nowMs)).toMatchObject({ timestamp: { version: 3 }, stale: undefined });
  });
});

describe('5.3 update the root', () => {
  it('5.3.3 follows every root up to the newest, one by one', async () => {
    const { repository, online, client } = await settledWorld();
    repository.publish('root', 'root', 'root');
    await client.refresh(online);
    expect(client.root.version).toBe(4);
    expect(repository.requests.slice(0, 4)).toEqual(['2.root.json', '3.root.json', '4.root.json', '5.root.json']);
  });

  it('5.3.3 reads a bounded number of bytes', async () => {
    const { repository, online, client } = await settledWorld({ limits: { maxRootBytes: 4096 } });
    repository.files.set('2.root.json', Buffer.alloc(5000, ' '));
    await expectRefusal(client.refresh(online), 'TUF_TOO_LARGE', '5.3.3');
  });

  it('5.3.3 follows a bounded number of roots, and goes on from there the next time', async () => {
    const { repository, online, client, cache } = await settledWorld({ limits: { maxRootRotations: 2 } });
    repository.publish('root', 'root', 'root');
    await expectRefusal(client.refresh(online), 'TUF_TOO_MANY_ROTATIONS', '5.3.3');
    expect(heldVersions(cache)).toMatchObject({ root: 3 });
    await client.refresh(online);
    expect(client.root.version).toBe(4);
  });

  it.each(['old', 'new'])('5.3.4 refuses a root that the keys of the %s root did not sign', async (missing) => {
    const { repository, online, client, cache } = await settledWorld();
    const [old] = repository.signers.get('root') ?? [];
    repository.rotateKeys('root');
    const fresh = (repository.signers.get('root') ?? []).filter((signer) => signer !== old);
    repository.signers.set('root', missing === 'old' ? fresh : old ? [old] : []);
    repository.publish('root');
    await expectRefusal(client.refresh(online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.3.4');
    expect(heldVersions(cache)).toMatchObject({ root: 1 });
  });

  it('5.3.4 refuses a root that was changed after it was signed, and takes the true one the next time', async () => {
    const settled = await settledWorld();
    settled.repository.publish('root');
    tamper(settled, '2.root.json', (text) => text.replace('"consistent_snapshot":true', '"consistent_snapshot":false'));
    await expectRefusal(settled.client.refresh(settled.online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.3.4');
    settled.repository.serve('root');
    await settled.client.refresh(settled.online);
    expect(settled.client.root.version).toBe(2);
  });

  it.each([1, 3])('5.3.5 refuses version %i where version 2 has to come', async (version) => {
    const { repository, online, client, cache } = await settledWorld();
    repository.root.version = version;
    repository.serve('root', 2);
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.3.5');
    expect(heldVersions(cache)).toMatchObject({ root: 1 });
  });

  it('5.3.6 passes an intermediate root that has expired', async () => {
    const { repository, online, client } = await settledWorld();
    const { expires } = repository.root;
    repository.root.expires = toExpiry(nowMs - DAY_MS);
    repository.publish('root');
    repository.root.expires = expires;
    repository.publish('root');
    await client.refresh(online);
    expect(client.root.version).toBe(3);
  });

  it('5.3.8 persists the bytes of the root as they came', async () => {
    const settled = await settledWorld();
    settled.repository.publish('root');
    tamper(settled, '2.root.json', (text) => `${text}\n `);
    await settled.client.refresh(settled.online);
    expect(settled.cache.entries.get('root.json')).toEqual(
      new Uint8Array(settled.repository.files.get('2.root.json') ?? []),
    );
  });

  it.each([
    ['the day before', nowMs - DAY_MS],
    ['at this very moment', nowMs],
  ])('5.3.10 stops at a newest root that expired %s, and keeps it', async (_, expiresMs) => {
    const { repository, online, client, cache } = await settledWorld();
    repository.root.expires = toExpiry(expiresMs);
    repository.publish('root', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_EXPIRED', '5.3.10');
    expect(heldVersions(cache)).toMatchObject({ root: 2, timestamp: 2 });
  });

  it('5.3.12 asks for names without a version when the root says so, and for the root always with one', async () => {
    const { repository, online, client } = await settledWorld();
    repository.root.consistent_snapshot = false;
    repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    await client.refresh(online);
    await client.target(PATH, online);
    expect(repository.requests).toEqual([
      '2.root.json',
      '3.root.json',
      'timestamp.json',
      'snapshot.json',
      'targets.json',
      'gas.json',
    ]);
  });
});

describe('5.3.11 recover from a fast-forward attack', () => {
  it.each(['timestamp', 'snapshot', 'targets'] as const)(
    'accepts a lower version of %s after rotations',
    async (role) => {
      const { repository, online, client, cache } = await settledWorld();
      // The attacker had the keys of snapshot and timestamp, and of the role itself.
      repository[role].version = 1_000_000;
      repository.publish(...(role === 'targets' ? [role] : []), 'snapshot', 'timestamp');
      await client.refresh(online);
      expect(heldVersions(cache)[role]).toBeGreaterThanOrEqual(1_000_000);

      repository.rotateKeys('timestamp');
      repository.rotateKeys('snapshot');
      repository[role].version = 4;
      repository.publish('root', 'targets', 'snapshot', 'timestamp');
      await client.refresh(online);
      expect(heldVersions(cache)[role]).toBeLessThan(1000);
    },
  );

  it('forgets roles that the snapshot listed, when the snapshot keys alone were rotated', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.snapshot.meta['invented.json'] = { version: 9 };
    repository.publish('snapshot', 'timestamp');
    await client.refresh(online);
    delete repository.snapshot.meta['invented.json'];
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.5.5');
    repository.rotateKeys('snapshot');
    repository.publish('root', 'snapshot', 'timestamp');
    await client.refresh(online);
    expect(heldVersions(cache)).toMatchObject({ root: 2, snapshot: 5 });
  });

  it('also when the rotation lies in a root that was passed', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.timestamp.version = 1_000_000;
    repository.publish('timestamp');
    await client.refresh(online);
    repository.rotateKeys('timestamp');
    repository.publish('root', 'root', 'root');
    repository.timestamp.version = 3;
    repository.publish('timestamp');
    await client.refresh(online);
    expect(heldVersions(cache)).toMatchObject({ root: 4, timestamp: 4 });
  });

  it.each([
    ['a key was only added', (repository: RepositorySimulator) => void repository.addKey('timestamp')],
    ['root keys were rotated', (repository: RepositorySimulator) => repository.rotateKeys('root')],
    ['targets keys were rotated', (repository: RepositorySimulator) => repository.rotateKeys('targets')],
  ])('forgets nothing when %s', async (_, change) => {
    const { repository, online, client } = await settledWorld();
    change(repository);
    repository.timestamp.version = 0;
    repository.publish('root', 'targets', 'snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.4.3.1');
  });

  it('does not trust a timestamp that only the revoked key signed', async () => {
    const { repository, online, client, cache } = await settledWorld();
    const revoked = repository.signers.get('timestamp') ?? [];
    repository.rotateKeys('timestamp');
    repository.publish('root');
    repository.signers.set('timestamp', [...revoked, createSigner()]);
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.4.2');
    expect(heldVersions(cache)).not.toHaveProperty('timestamp');
  });
});
