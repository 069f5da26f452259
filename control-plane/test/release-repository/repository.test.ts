import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { delegate, nextRoot, releasePath, renew } from '@drover/shared/trust/ceremony';
import { RepositoryClient, type Root, type Targets } from '@drover/shared/trust/tuf';
import { MemoryCache } from '@drover/shared/trust/tuf/simulator';
import { audit } from '../../src/governance/index.js';
import { metadataFiles, repositoryState, startKeeper } from '../../src/release-repository/index.js';
import { TIMESTAMP_VALID_MS } from '../../src/release-repository/online-roles.js';
import {
  beginRepository,
  enrolmentOf,
  errorCode,
  firstDocuments,
  holders,
  makeRelease,
  MODEL,
  nextModelRole,
  post,
  publication,
  publish,
  signedBy,
  startFixture,
  upload,
  type ControlPlaneFixture,
} from '../control-plane-fixture.js';

const DAY_MS = 86_400_000;
let fixture: ControlPlaneFixture;
beforeEach(async () => {
  fixture = await startFixture();
});
afterEach(() => fixture.close());

const refusal = (answer: Parameters<typeof errorCode>[0]) => [answer.statusCode, errorCode(answer)];
const current = async () => {
  const found = await metadataFiles(fixture.db).current();
  if (!found) throw new Error('there is no repository');
  return found;
};
const expiresAtMs = () => fixture.clock.at + 365 * DAY_MS;

/** The API as an enrolled device sees it. */
async function deviceFetcher() {
  const { claimToken } = (
    await post(fixture, 'operator', '/claim-tokens', { attributes: {}, ttlMs: 60_000 })
  ).json() as {
    claimToken: string;
  };
  const grant = await fixture.app.inject({
    method: 'POST',
    url: '/api/v1/enrolments',
    payload: enrolmentOf(createKeyPair(), claimToken, 'device-1'),
  });
  const { credential } = grant.json<{ credential: string }>();
  const authorization = `Basic ${Buffer.from(`device-1:${credential}`).toString('base64')}`;
  const get = (name: string, headers: Record<string, string> = {}) =>
    fixture.app.inject({ url: `/api/v1/device/metadata/${name}`, headers: { authorization, ...headers } });
  return {
    get,
    fetcher: {
      fetch: async (name: string) => {
        const answer = await get(name);
        if (answer.statusCode === 404) return undefined;
        expect(answer.statusCode).toBe(200);
        return answer.rawPayload;
      },
    },
  };
}

async function published(version: string): Promise<ReturnType<typeof makeRelease>> {
  const release = makeRelease(version);
  for (const file of release.files) await upload(fixture, file);
  const answer = await publish(fixture, release);
  expect(answer.statusCode, answer.body).toBe(201);
  return release;
}

describe('when a device follows the repository', () => {
  it('resolves a release by the root that it was given, over every rotation of keys', async () => {
    await beginRepository(fixture);
    const pinnedRoot = (await current()).root.bytes;
    const release = await published('1.0.0');
    const { fetcher } = await deviceFetcher();
    const cache = new MemoryCache();
    const resolve = async () => {
      const client = new RepositoryClient({ pinnedRoot, cache });
      const options = { fetcher, nowMs: fixture.clock.at, signal: new AbortController().signal };
      await client.refresh(options);
      return { client, target: await client.target(releasePath(MODEL, release.manifest.version), options) };
    };
    const first = await resolve();
    expect(first.target?.hashes['sha256']).toBe(release.digest.slice(7));
    expect(first.target?.length).toBe(release.manifestBytes.length);

    // The control plane's own key.
    fixture.clock.at += 60_000;
    const online = await fixture.app.inject({
      method: 'POST',
      url: '/api/v1/repository/online-keys',
      headers: await fixture.token('admin'),
    });
    const second = nextRoot(
      (await current()).root.signed,
      { online: { threshold: 1, keys: [online.json()] } },
      expiresAtMs(),
    );
    expect((await publication(fixture, [signedBy('root', second, fixture.publisher)])).statusCode).toBe(201);
    expect((await resolve()).client.root.version).toBe(2);

    // Root, targets and the model, to other people.
    fixture.clock.at += 60_000;
    const [boss, lead, author] = [createKeyPair(), createKeyPair(), createKeyPair()];
    const third = nextRoot(second, { root: holders(boss), targets: holders(lead) }, expiresAtMs());
    const before = await current();
    const targets = delegate(before.targets.signed, MODEL, holders(author), expiresAtMs());
    const answer = await publication(fixture, [
      signedBy('root', third, fixture.publisher, boss),
      signedBy('targets', targets, lead),
      signedBy(MODEL, await nextModelRole(fixture), author),
    ]);
    expect(answer.statusCode, answer.body).toBe(201);
    const last = await resolve();
    expect(last.client.root.version).toBe(3);
    expect(last.client.root.keySet.keys).toEqual([publicKeyOf(boss)]);
    expect(last.target?.hashes['sha256']).toBe(release.digest.slice(7));
  });

  it('gets small files: a timestamp of at most 512 bytes, and versions that a proxy may keep', async () => {
    await beginRepository(fixture);
    await published('1.0.0');
    const { get } = await deviceFetcher();
    const timestamp = await get('timestamp.json');
    expect(timestamp.rawPayload.length).toBeLessThanOrEqual(512);
    expect(timestamp.headers['cache-control']).toBe('public, no-cache');
    const { etag = '' } = timestamp.headers;
    expect((await get('timestamp.json', { 'if-none-match': `W/${etag}` })).statusCode).toBe(304);
    expect((await get('timestamp.json', { 'if-none-match': '"timestamp.1"' })).statusCode).toBe(200);
    const root = await get('1.root.json', { 'accept-encoding': 'gzip, br' });
    expect([root.headers['content-encoding'], root.headers['cache-control']]).toEqual([
      'gzip',
      'public, max-age=31536000, immutable',
    ]);
    expect(refusal(await get('2.root.json'))).toEqual([404, 'REPOSITORY_FILE_UNKNOWN']);
    expect((await get('..%2fdirector.key')).statusCode).toBe(400);
  });
});

describe('when the first root is published', () => {
  it('needs targets beside it, an administrator, and a key of this control plane', async () => {
    const { root, targets } = firstDocuments(fixture);
    const { publisher } = fixture;
    const documents = [signedBy('root', root, publisher), signedBy('targets', targets, publisher)];
    expect(refusal(await publication(fixture, documents, 'publisher'))).toEqual([403, 'AUTH_FORBIDDEN']);
    expect(refusal(await publication(fixture, documents.slice(0, 1)))).toEqual([422, 'REPOSITORY_DOCUMENT_REFUSED']);
    const foreign = nextRoot({ ...root, version: 0 }, { online: holders(createKeyPair()) }, expiresAtMs());
    expect(refusal(await publication(fixture, [signedBy('root', foreign, publisher), ...documents.slice(1)]))).toEqual([
      409,
      'REPOSITORY_ONLINE_KEY_MISSING',
    ]);
    // Nothing of it was kept.
    expect(await metadataFiles(fixture.db).current()).toBeUndefined();
    expect((await publication(fixture, documents)).statusCode).toBe(201);
    const actions = (await audit(fixture.db).list()).map(({ action, subject }) => `${action} ${subject}`);
    expect(actions).toEqual(expect.arrayContaining(['repository.publish root@1', 'repository.publish targets@1']));
  });
});

describe('when a publication must not be taken', () => {
  const cases: readonly [string, string, (root: Root, targets: Targets) => Parameters<typeof publication>[1]][] = [
    [
      'a root that the old keys did not sign',
      'TUF_SIGNATURES_BELOW_THRESHOLD',
      (root) => {
        const thief = createKeyPair();
        return [signedBy('root', nextRoot(root, { root: holders(thief) }, expiresAtMs()), thief)];
      },
    ],
    [
      'a root that the new keys did not sign',
      'TUF_SIGNATURES_BELOW_THRESHOLD',
      (root) => [
        signedBy('root', nextRoot(root, { root: holders(createKeyPair()) }, expiresAtMs()), fixture.publisher),
      ],
    ],
    [
      'a root that leaves one out',
      'REPOSITORY_VERSION_WRONG',
      (root) => [signedBy('root', { ...renew(root, expiresAtMs()), version: 3 }, fixture.publisher)],
    ],
    [
      'new holders of targets without targets that they signed',
      'REPOSITORY_ROLE_UNSIGNED',
      (root) => [
        signedBy('root', nextRoot(root, { targets: holders(createKeyPair()) }, expiresAtMs()), fixture.publisher),
      ],
    ],
    [
      'new holders of a model without a role that they signed',
      'REPOSITORY_ROLE_UNSIGNED',
      (_root, targets) => [
        signedBy('targets', delegate(targets, MODEL, holders(createKeyPair()), expiresAtMs()), fixture.publisher),
      ],
    ],
    [
      'targets that delegate more than the model',
      'REPOSITORY_DOCUMENT_REFUSED',
      (_root, targets) => {
        const next = renew(targets, expiresAtMs());
        const roles = (next.delegations?.roles ?? []).map((role) => ({ ...role, paths: ['*/*'] }));
        return [
          signedBy(
            'targets',
            { ...next, delegations: { keys: next.delegations?.keys ?? {}, roles } },
            fixture.publisher,
          ),
        ];
      },
    ],
    [
      'targets that drop a model',
      'REPOSITORY_DOCUMENT_REFUSED',
      (_root, targets) => [
        signedBy(
          'targets',
          { ...renew(targets, expiresAtMs()), delegations: { keys: {}, roles: [] } },
          fixture.publisher,
        ),
      ],
    ],
    [
      'targets that have expired',
      'REPOSITORY_ROLE_EXPIRED',
      (_root, targets) => [signedBy('targets', renew(targets, fixture.clock.at - 1000), fixture.publisher)],
    ],
    [
      'a role that nobody delegated',
      'REPOSITORY_DOCUMENT_REFUSED',
      (_root, targets) => [signedBy('other-model', { ...targets, version: 1 }, fixture.publisher)],
    ],
    [
      'one role twice',
      'REPOSITORY_DOCUMENT_REFUSED',
      (_root, targets) => {
        const document = signedBy('targets', renew(targets, expiresAtMs()), fixture.publisher);
        return [document, document];
      },
    ],
  ];
  it.each(cases)('refuses %s (%s), and leaves everything as it was', async (_, code, documents) => {
    await beginRepository(fixture);
    await published('1.0.0');
    const before = await current();
    const answer = await publication(fixture, documents(before.root.signed, before.targets.signed));
    expect(errorCode(answer), answer.body).toBe(code);
    expect(await current()).toEqual(before);
  });

  it('keeps to what the database holds: a file that was published cannot be changed', async () => {
    await beginRepository(fixture);
    await expect(fixture.db.updateTable('metadata_files').set({ body: '{}' }).execute()).rejects.toThrow(/append-only/);
  });
});

describe('when time passes', () => {
  it('signs timestamp and snapshot anew before they expire, and never goes back after a restored backup', async () => {
    await beginRepository(fixture);
    const first = await current();
    expect(await fixture.repository.refresh()).toEqual([]);
    fixture.clock.at += DAY_MS + 1000;
    expect((await fixture.repository.refresh()).map(({ role }) => role)).toEqual(['timestamp']);
    fixture.clock.at += 11 * DAY_MS;
    expect((await fixture.repository.refresh()).map(({ role }) => role)).toEqual(['snapshot', 'timestamp']);
    const later = await current();
    // The version follows the clock, so whoever starts again from `first` is above what devices have seen.
    expect(later.timestamp.signed.version).toBe(Math.floor(fixture.clock.at / 1000));
    expect(later.timestamp.signed.version).toBeGreaterThan(first.timestamp.signed.version);
  });

  it('warns well before people have to sign, once a day, and when it cannot sign itself', async () => {
    await beginRepository(fixture);
    const told: string[] = [];
    const failed: unknown[] = [];
    const keeper = await startKeeper({
      db: fixture.db,
      repository: fixture.repository,
      now: () => fixture.clock.at,
      onProblem: ({ code, where }) => told.push(`${code} ${where ?? ''}`),
      onError: (error) => failed.push(error),
      intervalMs: 1,
    });
    expect(told).toEqual([]);
    fixture.clock.at += 340 * DAY_MS;
    await expect
      .poll(() => told)
      .toEqual(['REPOSITORY_ROLE_EXPIRING root.json', 'REPOSITORY_ROLE_EXPIRING targets.json']);
    await keeper.close();
    expect(failed).toEqual([]);
    const state = repositoryState(await current(), fixture.clock.at);
    expect(state.roles.find(({ role }) => role === 'root')).toMatchObject({
      condition: 'expiring',
      secondsLeft: 25 * 86_400,
    });
    expect(state.roles.find(({ role }) => role === 'timestamp')).toMatchObject({ condition: 'good' });

    // Nobody refreshed it: at the half of its time that is a problem too.
    fixture.clock.at += TIMESTAMP_VALID_MS * 0.6;
    const problems = repositoryState(await current(), fixture.clock.at).problems.map(({ what }) => what.split(' ')[0]);
    expect(problems[0]).toBe('timestamp');
  });

  it('shows the seconds that are left of each role to Prometheus', async () => {
    await beginRepository(fixture);
    const { body } = await fixture.app.inject({ url: '/metrics', headers: await fixture.token('viewer') });
    expect(body).toContain(`drover_repository_seconds_left{role="root"} ${365 * 86_400}`);
    expect(body).toContain('drover_repository_version{role="targets"} 1');
  });
});

describe('when several publish at the same time', () => {
  it('takes one version of a role and refuses the other', async () => {
    await beginRepository(fixture);
    const releases = [makeRelease('1.0.0'), makeRelease('1.1.0')];
    for (const file of releases.flatMap(({ files }) => files)) await upload(fixture, file);
    const roles = await Promise.all(releases.map((release) => nextModelRole(fixture, release)));
    const answers = await Promise.all(
      roles.map((role) => publication(fixture, [signedBy(MODEL, role, fixture.publisher)], 'publisher')),
    );
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([201, 409]);
  });
});
