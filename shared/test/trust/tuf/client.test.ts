import { describe, expect, it } from 'vitest';
import { RepositoryClient } from '../../../src/trust/tuf/index.js';
import { MemoryCache, RepositorySimulator } from '../../../src/trust/tuf/simulator/index.js';

const nowMs = Date.UTC(2030, 0, 1);
const { signal } = new AbortController();
const release = Buffer.from('{"format":"drover.release/1"}');

function world(options = {}) {
  const repository = new RepositorySimulator({ nowMs, ...options });
  repository.delegate({ name: 'gas', paths: ['gas/*'], terminating: true });
  repository.addTarget('gas', 'gas/1.0.0.json', release);
  repository.publish('gas', 'targets', 'snapshot', 'timestamp');
  const cache = new MemoryCache();
  const open = () => new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache });
  const options2 = { fetcher: repository.fetcher, nowMs, signal };
  return { repository, cache, open, client: open(), online: options2 };
}

describe('a device that follows a repository', () => {
  it('finds a release in the role of its model', async () => {
    const { client, online, repository } = world();
    await client.refresh(online);
    expect(await client.target('gas/1.0.0.json', online)).toMatchObject({ length: release.length, role: 'gas' });
    expect(repository.requests).toEqual([
      '2.root.json',
      'timestamp.json',
      '2.snapshot.json',
      '2.targets.json',
      '1.gas.json',
    ]);
  });

  it('asks for the next root and the timestamp alone when nothing is new', async () => {
    const { client, online, repository, open } = world();
    await client.refresh(online);
    await client.target('gas/1.0.0.json', online);
    repository.requests.length = 0;
    const restarted = open();
    await restarted.refresh(online);
    expect(await restarted.target('gas/1.0.0.json', online)).toBeDefined();
    expect(repository.requests).toEqual(['2.root.json', 'timestamp.json']);
  });

  it('answers from the cache without a network, and says that it is stale', async () => {
    const { client, online, open } = world();
    await client.refresh(online);
    await client.target('gas/1.0.0.json', online);
    const later = nowMs + 100 * 86_400_000;
    const fresh = await open().cachedTarget('gas/1.0.0.json', { nowMs });
    expect(fresh).toMatchObject({ target: { role: 'gas' }, stale: undefined });
    const stale = await open().cachedTarget('gas/1.0.0.json', { nowMs: later });
    expect(stale).toMatchObject({ target: { role: 'gas' }, stale: { code: 'TUF_EXPIRED' } });
  });
});

describe('a role that lists a key twice', () => {
  it('is refused, however long the list is', async () => {
    const { repository, client, online } = world();
    const [role] = repository.targets.delegations?.roles ?? [];
    if (!role) throw new Error('the repository delegates to nobody');
    const [keyId = ''] = role.keyids;
    role.keyids = [keyId, keyId];
    repository.publish('targets', 'snapshot', 'timestamp');
    await expect(client.refresh(online)).rejects.toMatchObject({ code: 'TUF_MALFORMED' });
    role.keyids = Array.from({ length: 20_000 }, () => keyId);
    repository.publish('targets', 'snapshot', 'timestamp');
    const begunAt = process.cpuUsage();
    await expect(client.refresh(online)).rejects.toMatchObject({
      code: expect.stringMatching(/^TUF_(MALFORMED|TOO_LARGE)$/) as string,
    });
    expect(process.cpuUsage(begunAt).user / 1000).toBeLessThan(2_000);
  });
});

describe('a root with roles that nobody knows', () => {
  it.each([1, {}, { keyids: 7 }])('is read without them: %j', async (unknown) => {
    const { repository, client, online } = world();
    Object.assign(repository.root.roles, { mirrors: unknown });
    repository.publish('root', 'timestamp');
    await client.refresh(online);
    expect(client.root.version).toBe(repository.root.version);
  });
});
