import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesPathPattern, RepositoryClient } from '../../../src/trust/tuf/index.js';
import { createSigner, MemoryCache, RepositorySimulator } from '../../../src/trust/tuf/simulator/index.js';
import { expectRefusal, heldVersions, nowMs } from './fixture.js';

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly paths?: readonly string[];
  readonly terminating?: boolean;
}

const { signal } = new AbortController();

function follow(edges: readonly Edge[], targets: readonly (readonly [role: string, path: string])[] = [], limits = {}) {
  const repository = new RepositorySimulator({ nowMs });
  for (const { from, to, paths = ['*'], terminating = false } of edges)
    repository.delegate({ from, name: to, paths, terminating });
  for (const [role, path] of targets) repository.addTarget(role, path, Buffer.from(`${role} says ${path}`));
  repository.publish(...repository.delegated.keys(), 'targets', 'snapshot', 'timestamp');
  const cache = new MemoryCache();
  const client = new RepositoryClient({ pinnedRoot: repository.pinnedRoot, cache, limits });
  const online = { fetcher: repository.fetcher, nowMs, signal };
  const lookUp = async (path: string) => {
    await client.refresh(online);
    repository.requests.length = 0;
    return client.target(path, online);
  };
  /** Names of the roles that were asked for, in order. */
  const visited = () =>
    repository.requests.map((name) => decodeURIComponent(name.replace(/^\d+\./, '').replace(/\.json$/, '')));
  return { repository, cache, client, online, lookUp, visited };
}

const edge = (from: string, to: string, o: Partial<Edge> = {}): Edge => ({ from, to, ...o });

/** The graphs of the public conformance suite: what is visited for a target that nobody has. */
const GRAPHS: readonly (readonly [string, readonly Edge[], readonly string[]])[] = [
  ['one role', [edge('targets', 'A')], ['A']],
  ['two in order', [edge('targets', 'A'), edge('targets', 'B')], ['A', 'B']],
  [
    'order of appearance, also of names that look like numbers',
    [edge('targets', '9'), edge('targets', '1')],
    ['9', '1'],
  ],
  ['depth first', [edge('targets', 'A'), edge('targets', 'B'), edge('A', 'C'), edge('A', 'D')], ['A', 'C', 'D', 'B']],
  [
    'depth first, deeper',
    [edge('targets', 'A'), edge('targets', 'B'), edge('A', 'C'), edge('C', 'D')],
    ['A', 'C', 'D', 'B'],
  ],
  [
    'a terminating role ends all but its own branch',
    [edge('targets', 'A'), edge('targets', 'B'), edge('A', 'C', { terminating: true }), edge('A', 'D'), edge('C', 'E')],
    ['A', 'C', 'E'],
  ],
  [
    'a terminating role that does not cover the path ends nothing',
    [edge('targets', 'A', { paths: ['*.py'], terminating: true }), edge('targets', 'B')],
    ['B'],
  ],
  [
    'branches that do not cover the path are left out',
    [edge('targets', 'A', { paths: ['*.py'] }), edge('targets', 'B'), edge('A', 'C')],
    ['B'],
  ],
  ['a cycle ends', [edge('targets', 'B'), edge('B', 'C'), edge('C', 'D'), edge('D', 'B')], ['B', 'C', 'D']],
  ['a role that delegates to itself', [edge('targets', 'A'), edge('A', 'A')], ['A']],
  [
    'two delegators, one role: the first leads there',
    [edge('targets', 'A'), edge('targets', 'B'), edge('B', 'C'), edge('A', 'C')],
    ['A', 'C', 'B'],
  ],
  [
    'two delegators, one role: only the second covers the path',
    [edge('targets', 'A'), edge('targets', 'B'), edge('B', 'C'), edge('A', 'C', { paths: ['*.py'] })],
    ['A', 'B', 'C'],
  ],
];

describe('5.6.7 the search', () => {
  it.each(GRAPHS)('%s', async (_, edges, order) => {
    const { lookUp, visited } = follow(edges);
    expect(await lookUp('missing')).toBeUndefined();
    expect(visited()).toEqual(order);
  });

  const tree = [
    edge('targets', 'A', { paths: ['*.doc', '*.md', 'foo-?.tgz'] }),
    edge('targets', 'B', { paths: ['releases/*/*'] }),
    edge('B', 'C', { paths: ['releases/x/*'] }),
    edge('B', 'D', { paths: ['releases/y/*.zip'] }),
  ];
  it.each([
    ['targetfile', 'targets', []],
    ['README.md', 'A', ['A']],
    ['foo-1.tgz', 'A', ['A']],
    ['releases/x/x_v1', 'C', ['B', 'C']],
    ['releases/y/y_v1.zip', 'D', ['B', 'D']],
  ])('finds %s in role %s', async (path, role, order) => {
    const { lookUp, visited } = follow(tree, [[role, path]]);
    expect(await lookUp(path)).toMatchObject({ path, role });
    expect(visited()).toEqual(order);
  });

  it.each([
    ['releases/z/z_v1.zip', 'D', ['B']],
    ['releases/README.md', 'A', []],
    ['foo-alpha.tgz', 'A', []],
    ['README.MD', 'A', []],
  ])('does not find %s, which role %s lists without having been given it', async (path, role, order) => {
    const { lookUp, visited } = follow(tree, [[role, path]]);
    expect(await lookUp(path)).toBeUndefined();
    expect(visited()).toEqual(order);
  });

  it('trusts the first of two roles that both list the path', async () => {
    const { lookUp } = follow(
      [edge('targets', 'second-by-name'), edge('targets', 'A')],
      [
        ['A', 'file'],
        ['second-by-name', 'file'],
      ],
    );
    expect(await lookUp('file')).toMatchObject({ role: 'second-by-name' });
  });

  it('follows path_hash_prefixes (section 4.5)', async () => {
    const { repository, lookUp, visited } = follow([]);
    // SHA-256 of "file" begins with 3b9c358f…
    repository.delegate({ name: 'bin-3a', pathHashPrefixes: ['3a', '3b8', '9c35'] });
    repository.delegate({ name: 'bin-3b', pathHashPrefixes: ['00', '3b9c'] });
    repository.addTarget('bin-3b', 'file', Buffer.from('x'));
    repository.publish('bin-3a', 'bin-3b', 'targets', 'snapshot', 'timestamp');
    expect(await lookUp('file')).toMatchObject({ role: 'bin-3b' });
    expect(visited()).toEqual(['bin-3b']);
  });

  it.each(['?', '#', '/role', '../role', 'ä b', 'constructor', '__proto__', '%2e%2e'])(
    'asks for the role %j by one segment of a path, and keeps it under one file name',
    async (name) => {
      const { repository, cache, lookUp, online, client } = follow([edge('targets', name)], [[name, 'file']]);
      expect(await lookUp('file')).toMatchObject({ role: name });
      expect(repository.requests).toEqual([`1.${encodeURIComponent(name)}.json`]);
      expect(cache.entries.has(`${encodeURIComponent(name)}.json`)).toBe(true);
      repository.requests.length = 0;
      await client.target('file', online);
      expect(repository.requests).toEqual([]);
    },
  );

  it('5.6.7.1 visits a bounded number of roles', async () => {
    const chain = Array.from({ length: 6 }, (_, at) => edge(at === 0 ? 'targets' : `r${at - 1}`, `r${at}`));
    expect(await follow(chain, [], { maxDelegations: 6 }).lookUp('missing')).toBeUndefined();
    const { lookUp, visited } = follow(chain, [], { maxDelegations: 5 });
    await expectRefusal(lookUp('missing'), 'TUF_TOO_MANY_DELEGATIONS', '5.6.7.1');
    expect(visited()).toHaveLength(5);
  });

  it('does not use, and not even ask for, a role that the snapshot does not list', async () => {
    const { repository, lookUp, cache } = follow([edge('targets', 'A')]);
    repository.rotateKeys('snapshot');
    delete repository.snapshot.meta['A.json'];
    repository.publish('root', 'snapshot', 'timestamp');
    await expectRefusal(lookUp('file'), 'TUF_NOT_FOUND', '5.6.7');
    expect(repository.requests).toEqual([]);
    expect(heldVersions(cache)).not.toHaveProperty('A');
  });

  it('ends where a role cannot be verified, though another one could answer', async () => {
    const { repository, lookUp } = follow([edge('targets', 'A'), edge('targets', 'B')], [['B', 'file']]);
    repository.signers.set('A', [createSigner()]);
    repository.publish('A', 'snapshot', 'timestamp');
    await expectRefusal(lookUp('file'), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.6.3');
  });
});

describe('a role that two delegate to', () => {
  function diamond() {
    const scene = follow([
      edge('targets', 'parent-a', { paths: ['team-a/*'] }),
      edge('targets', 'parent-b', { paths: ['team-b/*'] }),
      edge('parent-a', 'release', { paths: ['team-a/*'] }),
      edge('parent-b', 'release', { paths: ['team-b/*'] }),
    ]);
    const { repository } = scene;
    // Each parent trusts a key of its own; only the first one signs.
    repository.signers.set('release', (repository.signers.get('release') ?? []).slice(0, 1));
    repository.addTarget('release', 'team-a/file', Buffer.from('trusted'));
    repository.addTarget('release', 'team-b/file', Buffer.from('malicious'));
    repository.publish('release', 'snapshot', 'timestamp');
    return scene;
  }

  it('is verified against the one that leads to it now, whatever the cache holds', async () => {
    const { client, online, cache } = diamond();
    await client.refresh(online);
    expect(await client.target('team-a/file', online)).toMatchObject({ role: 'release' });
    expect(heldVersions(cache)).toMatchObject({ release: 2 });
    await expectRefusal(client.target('team-b/file', online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.6.3');
    const offline = await expectRefusal(client.cachedTarget('team-b/file', { nowMs }), 'TUF_NOT_CACHED', '5.6.7');
    expect(offline.cause).toMatchObject({ code: 'TUF_SIGNATURES_BELOW_THRESHOLD' });
    expect(await client.target('team-a/file', online)).toMatchObject({ role: 'release' });
  });

  it('loses its authority when its delegator takes the key back, also from the cache', async () => {
    const { client, online, repository } = diamond();
    await client.refresh(online);
    await client.target('team-a/file', online);
    const role = repository.targetsRole('parent-a').delegations?.roles?.[0];
    if (role) role.keyids = [];
    repository.addKey('release', { delegator: 'parent-a' });
    repository.signers.set('release', []);
    repository.publish('parent-a', 'snapshot', 'timestamp');
    await client.refresh(online);
    await expectRefusal(client.target('team-a/file', online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.6.3');
  });
});

describe('any graph', () => {
  const names = ['A', '7', 'targets-2', 'D'];
  const edges = fc.uniqueArray(
    fc.record({
      from: fc.constantFrom('targets', ...names),
      to: fc.constantFrom(...names),
      paths: fc.constantFrom(['*'], ['a*'], ['*b'], ['x/*']),
      terminating: fc.boolean(),
    }),
    { maxLength: 10, selector: ({ from, to }) => `${from} ${to}` },
  );
  const listed = fc.uniqueArray(fc.tuple(fc.constantFrom(...names), fc.constantFrom('ab', 'a', 'b')), { maxLength: 3 });

  /** Section 5.6.7 word for word, by recursion. */
  function expected(graph: readonly Edge[], targets: readonly (readonly [string, string])[], path: string) {
    const visited: string[] = [];
    const visit = (name: string): { role: string } | 'stop' | 'go on' => {
      if (visited.includes(name)) return 'go on';
      visited.push(name);
      if (targets.some(([role, listedPath]) => role === name && listedPath === path)) return { role: name };
      for (const next of graph.filter(({ from }) => from === name)) {
        if (!(next.paths ?? []).some((pattern) => matchesPathPattern(path, pattern))) continue;
        const result = visit(next.to);
        if (result !== 'go on') return result;
        if (next.terminating) return 'stop';
      }
      return 'go on';
    };
    const result = visit('targets');
    return { role: typeof result === 'object' ? result.role : undefined, visited: visited.slice(1) };
  }

  it('is searched as the specification says', async () => {
    await fc.assert(
      fc.asyncProperty(edges, listed, fc.constantFrom('ab', 'a', 'b'), async (graph, targets, path) => {
        // A delegator has to be reachable before it can delegate.
        const possible: Edge[] = [];
        for (let before = -1; before < possible.length;) {
          before = possible.length;
          const reached = new Set(['targets', ...possible.map(({ to }) => to)]);
          possible.push(...graph.filter((next) => reached.has(next.from) && !possible.includes(next)));
        }
        const there = targets.filter(([role]) => possible.some(({ to }) => to === role));
        const { lookUp, visited } = follow(possible, there);
        const found = await lookUp(path);
        const wanted = expected(possible, there, path);
        expect({ role: found?.role, visited: visited() }).toEqual(wanted);
      }),
      { numRuns: 40 },
    );
  });
});
