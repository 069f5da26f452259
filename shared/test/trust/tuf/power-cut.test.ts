import { describe, expect, it } from 'vitest';
import { RepositoryClient } from '../../../src/trust/tuf/index.js';
import {
  PowerCut,
  toExpiry,
  type MemoryCache,
  type RepositorySimulator,
} from '../../../src/trust/tuf/simulator/index.js';
import { DAY_MS, expectRefusal, heldVersions, nowMs, PATH, RELEASE, settledWorld, type World } from './fixture.js';

const look = async ({ client, online }: Pick<World, 'client' | 'online'>) => {
  await client.refresh(online);
  return client.target(PATH, online);
};

/** What a repository may do between two refreshes of a device. */
const NEWS: readonly (readonly [string, (repository: RepositorySimulator) => void])[] = [
  ['a release', (repository) => void repository.publish('gas', 'targets', 'snapshot', 'timestamp')],
  [
    'new online keys and a recovery from a fast-forward attack',
    (repository) => {
      repository.rotateKeys('timestamp');
      repository.rotateKeys('snapshot');
      repository.timestamp.version = 0;
      repository.snapshot.version = 0;
      repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    },
  ],
  [
    // The timestamp keeps its key, so only what was persisted says that it has to be forgotten.
    'new snapshot keys alone and a recovery from a fast-forward attack',
    (repository) => {
      repository.rotateKeys('snapshot');
      repository.snapshot.version = 0;
      repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    },
  ],
  [
    'a rotation of every role over three roots',
    (repository) => {
      repository.rotateKeys('root');
      repository.publish('root');
      repository.rotateKeys('timestamp');
      repository.rotateKeys('targets');
      repository.publish('root');
      repository.rotateKeys('snapshot');
      repository.rotateKeys('gas');
      repository.publish('root', 'gas', 'targets', 'snapshot', 'timestamp');
    },
  ],
];

async function changesOf(publish: (repository: RepositorySimulator) => void): Promise<number> {
  const settled = await settledWorld();
  publish(settled.repository);
  await look(settled);
  return settled.cache.changes.length;
}

describe.each(NEWS)('a power cut while the device follows %s', (_, publish) => {
  it('leaves, before every single change of the cache, a device that goes on and trusts nothing unverified', async () => {
    const changes = await changesOf(publish);
    expect(changes).toBeGreaterThanOrEqual(4);
    for (let cutAfter = 0; cutAfter < changes; cutAfter++) {
      const settled = await settledWorld();
      const { repository, cache, online, open } = settled;
      publish(repository);
      cache.cutAfter(cutAfter);
      await expect(look(settled)).rejects.toBeInstanceOf(PowerCut);
      expect(cache.changes).toHaveLength(cutAfter);

      cache.cutAfter(Infinity);
      const restarted = open();
      // No entry is half written. What the newest root does not cover any more is passed over.
      for (const error of restarted.status(nowMs).cacheErrors)
        expect(error).toMatchObject({ code: 'TUF_SIGNATURES_BELOW_THRESHOLD', section: '5.3.11' });
      expect(await look({ client: restarted, online })).toMatchObject({ length: RELEASE.length });
      const { root, timestamp, snapshot, targets, delegated } = repository;
      expect(heldVersions(cache)).toEqual({
        root: root.version,
        timestamp: timestamp.version,
        snapshot: snapshot.version,
        targets: targets.version,
        gas: delegated.get('gas')?.version,
      });
      expect(open().status(nowMs)).toMatchObject({ stale: undefined });
    }
  });

  it('happens in memory as on the disk: the client that saw the cut goes on as well', async () => {
    const changes = await changesOf(publish);
    for (let cutAfter = 0; cutAfter < changes; cutAfter++) {
      const settled = await settledWorld();
      publish(settled.repository);
      settled.cache.cutAfter(cutAfter);
      await expect(look(settled)).rejects.toBeInstanceOf(PowerCut);
      settled.cache.cutAfter(Infinity);
      expect(await look(settled)).toMatchObject({ role: 'gas' });
    }
  });

  it('lets nobody serve the old repository afterwards', async () => {
    const changes = await changesOf(publish);
    for (let cutAfter = 1; cutAfter < changes; cutAfter++) {
      const settled = await settledWorld();
      const { repository, cache, open, online } = settled;
      const old = new Map(repository.files);
      publish(repository);
      cache.cutAfter(cutAfter);
      await expect(look(settled)).rejects.toBeInstanceOf(PowerCut);
      cache.cutAfter(Infinity);
      const before = heldVersions(cache);
      const replay = { fetch: (name: string) => Promise.resolve(old.get(name)) };
      const replayed = open().refresh({ ...online, fetcher: replay });
      await replayed.catch(() => undefined);
      const after = heldVersions(cache);
      for (const role of ['root', 'timestamp', 'snapshot', 'targets'])
        expect(after[role] ?? Infinity).toBeGreaterThanOrEqual(before[role] ?? 0);
    }
  });
});

describe('a damaged entry of the cache', () => {
  const DAMAGES: readonly (readonly [string, (bytes: Uint8Array) => Uint8Array | undefined])[] = [
    ['gone', () => undefined],
    ['empty', () => new Uint8Array()],
    ['cut in the middle', (bytes) => bytes.slice(0, bytes.length / 2)],
    ['full of zeros', (bytes) => new Uint8Array(bytes.length)],
    ['changed by one bit', (bytes) => bytes.map((byte, at) => (at === bytes.length - 40 ? byte ^ 1 : byte))],
  ];
  const damage = (cache: MemoryCache, name: string, change: (bytes: Uint8Array) => Uint8Array | undefined) => {
    const damaged = change(cache.entries.get(name) ?? new Uint8Array());
    if (damaged === undefined) cache.entries.delete(name);
    else cache.entries.set(name, damaged);
  };

  it.each(DAMAGES)('that is %s is fetched again, is not trusted, and stops nothing', async (_, change) => {
    for (const name of ['root.json', 'root.2', 'timestamp.json', 'snapshot.json', 'targets.json', 'gas.json']) {
      const settled = await settledWorld();
      const { repository, cache, online, open } = settled;
      repository.publish('root');
      await look(settled);
      const whole = cache.entries.get(name);
      damage(cache, name, change);
      const client = open();
      expect(await look({ client, online })).toMatchObject({ role: 'gas' });
      expect(cache.entries.get(name)).toEqual(whole);
      expect(client.status(nowMs)).toMatchObject({ stale: undefined, root: { version: 2 } });
    }
  });

  it('is reported, with its cause', async () => {
    const { cache, open } = await settledWorld();
    damage(cache, 'timestamp.json', (bytes) => bytes.slice(0, 10));
    const { cacheErrors, stale } = open().status(nowMs);
    expect(cacheErrors).toMatchObject([{ code: 'TUF_MALFORMED', where: 'timestamp.json' }]);
    expect(stale).toMatchObject({ code: 'TUF_NOT_CACHED' });
  });

  it('does not free the way for a rollback, where the rest remembers', async () => {
    const settled = await settledWorld();
    const { repository, cache, online, open } = settled;
    repository.publish('gas', 'targets', 'snapshot', 'timestamp');
    await look(settled);
    damage(cache, 'timestamp.json', () => undefined);
    repository.snapshot.meta['gas.json'] = { version: 1 };
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(open().refresh(online), 'TUF_ROLLBACK', '5.5.5');
  });
});

describe('without a network', () => {
  it('answers with what was verified, also after a restart', async () => {
    const { open } = await settledWorld();
    const { target, stale } = await open().cachedTarget(PATH, { nowMs });
    expect(target).toMatchObject({ path: PATH, role: 'gas', length: RELEASE.length });
    expect(stale).toBeUndefined();
    expect(await open().cachedTarget('gas/2.0.0.json', { nowMs })).toEqual({ target: undefined, stale: undefined });
  });

  it('says what it has, until when it holds, and why it is stale', async () => {
    const { open, repository } = await settledWorld();
    const expiresAtMs = Date.parse(repository.timestamp.expires);
    expect(open().status(nowMs)).toEqual({
      root: { version: 1, expiresAtMs },
      timestamp: { version: 2, expiresAtMs },
      snapshot: { version: 2, expiresAtMs },
      targets: { version: 2, expiresAtMs },
      freshUntilMs: expiresAtMs,
      stale: undefined,
      cacheErrors: [],
    });
    expect(open().status(expiresAtMs)).toMatchObject({ stale: { code: 'TUF_EXPIRED', section: '5.3.10' } });
  });

  it('names a delegated role that expired before the others', async () => {
    const settled = await settledWorld();
    settled.repository.targetsRole('gas').expires = toExpiry(nowMs + DAY_MS);
    settled.repository.publish('gas', 'snapshot', 'timestamp');
    await look(settled);
    const later = nowMs + 2 * DAY_MS;
    expect(settled.open().status(later).stale).toBeUndefined();
    expect(await settled.open().cachedTarget(PATH, { nowMs: later })).toMatchObject({
      target: { role: 'gas' },
      stale: { code: 'TUF_EXPIRED', where: 'gas.json' },
    });
  });

  it('says which piece is missing instead of guessing', async () => {
    const { cache, open, repository } = await settledWorld();
    for (const name of ['gas.json', 'targets.json', 'snapshot.json', 'timestamp.json']) {
      cache.entries.delete(name);
      const refusal = await expectRefusal(
        open().cachedTarget(PATH, { nowMs }),
        'TUF_NOT_CACHED',
        { 'gas.json': '5.6.7', 'targets.json': '5.6', 'snapshot.json': '5.5', 'timestamp.json': '5.4' }[name] ?? '',
      );
      expect(refusal.where).toBe(name);
    }
    const empty = new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache });
    expect(empty.root).toMatchObject({ version: 1, consistentSnapshot: true, keySet: { threshold: 1 } });
  });

  it('does not answer from metadata of two times', async () => {
    const { repository, cache, open, online, client } = await settledWorld();
    repository.publish('targets', 'snapshot', 'timestamp');
    repository.files.delete('3.targets.json');
    await expectRefusal(client.refresh(online), 'TUF_NOT_FOUND', '5.6.1');
    expect(heldVersions(cache)).toMatchObject({ snapshot: 3, targets: 2 });
    await expectRefusal(open().cachedTarget(PATH, { nowMs }), 'TUF_NOT_CACHED', '5.6.4');
  });
});

describe('several calls at once', () => {
  it('take turns: a look-up never sees half a refresh', async () => {
    const { repository, client, online } = await settledWorld();
    repository.publish('gas', 'targets', 'snapshot', 'timestamp');
    const [, found, again] = await Promise.all([
      client.refresh(online),
      client.target(PATH, online),
      client.refresh(online),
    ]);
    expect(found).toMatchObject({ role: 'gas' });
    expect(again).toBeUndefined();
    expect(repository.requests.filter((name) => name === '3.snapshot.json')).toHaveLength(1);
  });

  it('and one that fails does not stop the next', async () => {
    const { repository, client, online } = await settledWorld();
    const broken = { fetch: () => Promise.reject(new Error('no network')) };
    const [failed, found] = await Promise.allSettled([
      client.refresh({ ...online, fetcher: broken }),
      client.refresh({ ...online, fetcher: repository.fetcher }),
    ]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { message: 'no network' } });
    expect(found.status).toBe('fulfilled');
  });

  it('stops when it is told to', async () => {
    const { repository, client, online, cache } = await settledWorld();
    repository.publish('timestamp');
    const stopped = new AbortController();
    stopped.abort(new Error('The agent stops.'));
    await expect(client.refresh({ ...online, signal: stopped.signal })).rejects.toThrow('The agent stops.');
    expect(repository.requests).toEqual([]);
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2 });
  });
});
