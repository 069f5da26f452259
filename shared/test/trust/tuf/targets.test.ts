import { describe, expect, it } from 'vitest';
import { verifyTargetBytes } from '../../../src/trust/tuf/index.js';
import { toExpiry } from '../../../src/trust/tuf/simulator/index.js';
import {
  DAY_MS,
  expectRefusal,
  heldVersions,
  nowMs,
  PATH,
  RELEASE,
  settledWorld,
  tamper,
  type World,
} from './fixture.js';

/** The top-level role and a delegated one are held to the same steps; the look-up asks for the second. */
const ROLES = [
  { role: 'targets', version: 3, look: ({ client, online }: World) => client.refresh(online) },
  {
    role: 'gas',
    version: 2,
    look: async ({ client, online }: World) => {
      await client.refresh(online);
      return client.target(PATH, online);
    },
  },
] as const;

describe.each(ROLES)('5.6 update the targets role: $role', ({ role, version, look }) => {
  const file = `${version}.${role}.json`;
  const publish = ({ repository }: World) => repository.publish(role, 'snapshot', 'timestamp');
  const before = version - 1;

  it('5.6.1 needs the one that the snapshot lists', async () => {
    const settled = await settledWorld();
    publish(settled).files.delete(file);
    await expectRefusal(look(settled), 'TUF_NOT_FOUND', '5.6.1');
    expect(heldVersions(settled.cache)).toMatchObject({ snapshot: 3, [role]: before });
  });

  it('5.6.1 reads a bounded number of bytes', async () => {
    const settled = await settledWorld({ limits: { maxTargetsBytes: 4096 } });
    publish(settled);
    tamper(settled, file, (text) => text + ' '.repeat(5000));
    await expectRefusal(look(settled), 'TUF_TOO_LARGE', '5.6.1');
  });

  it('5.6.1 does not even ask for more than a role may have', async () => {
    const settled = await settledWorld({ listHashes: true, limits: { maxTargetsBytes: 4096 } });
    settled.repository.publish(role);
    settled.repository.snapshot.meta[`${role}.json`] = { version, length: 4097 };
    settled.repository.publish('snapshot', 'timestamp');
    await expectRefusal(look(settled), 'TUF_TOO_LARGE', '5.6.1');
    expect(settled.repository.requests).not.toContain(file);
  });

  it('5.6.2 refuses another hash', async () => {
    const settled = await settledWorld({ listHashes: true });
    settled.repository.publish(role);
    const meta = settled.repository.snapshot.meta[`${role}.json`];
    if (meta) meta.hashes = { sha256: '0'.repeat(64) };
    settled.repository.publish('snapshot', 'timestamp');
    await expectRefusal(look(settled), 'TUF_MIX_AND_MATCH', '5.6.2');
    expect(heldVersions(settled.cache)).toMatchObject({ snapshot: 3, [role]: before });
  });

  it('5.6.2 does not take the cached one for another of the same version', async () => {
    const settled = await settledWorld({ listHashes: true });
    settled.repository.targetsRole(role).expires = toExpiry(nowMs + 77 * DAY_MS);
    settled.repository.serve(role);
    settled.repository.publish('snapshot', 'timestamp');
    await look(settled);
    expect(settled.repository.requests).toContain(`${before}.${role}.json`);
  });

  it('5.6.3 refuses one that another key signed', async () => {
    const settled = await settledWorld();
    settled.repository.signers.set(role, settled.repository.signers.get('snapshot') ?? []);
    publish(settled);
    await expectRefusal(look(settled), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.6.3');
    expect(heldVersions(settled.cache)).toMatchObject({ snapshot: 3, [role]: before });
  });

  it('5.6.3 refuses one that was changed after it was signed', async () => {
    const settled = await settledWorld();
    publish(settled);
    tamper(settled, file, (text) => text.replace('"expires":"2030', '"expires":"2031'));
    await expectRefusal(look(settled), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.6.3');
  });

  it.each([-1, 1])('5.6.4 refuses a version that is off by %i', async (off) => {
    const settled = await settledWorld();
    const { repository } = settled;
    repository.targetsRole(role).version = version + off;
    repository.serve(role, version);
    repository.snapshot.meta[`${role}.json`] = { version };
    repository.publish('snapshot', 'timestamp');
    await expectRefusal(look(settled), 'TUF_MIX_AND_MATCH', '5.6.4');
  });

  it.each([
    ['the day before', nowMs - DAY_MS],
    ['at this very moment', nowMs],
  ])('5.6.5 refuses one that expired %s', async (_, expiresMs) => {
    const settled = await settledWorld();
    settled.repository.targetsRole(role).expires = toExpiry(expiresMs);
    publish(settled);
    await expectRefusal(look(settled), 'TUF_EXPIRED', '5.6.5');
    expect(heldVersions(settled.cache)).toMatchObject({ snapshot: 3, [role]: before });
  });

  it('5.6.5 fetches a cached one that expired again, and takes it only if it is fresh', async () => {
    const settled = await settledWorld();
    settled.repository.targetsRole(role).expires = toExpiry(nowMs + DAY_MS);
    publish(settled);
    await look(settled);
    const later = { ...settled, online: { ...settled.online, nowMs: nowMs + 2 * DAY_MS } };
    await expectRefusal(look(later), 'TUF_EXPIRED', '5.6.5');
    settled.repository.targetsRole(role).expires = toExpiry(nowMs + 9 * DAY_MS);
    settled.repository.serve(role);
    await look(later);
  });

  it('5.6.6 persists the bytes as they came', async () => {
    const settled = await settledWorld();
    publish(settled);
    tamper(settled, file, (text) => `${text} `);
    await look(settled);
    const kept = Buffer.from(settled.cache.entries.get(`${role}.json`) ?? []);
    expect(kept.equals(settled.repository.files.get(file) ?? Buffer.alloc(0))).toBe(true);
  });
});

describe('5.6.1', () => {
  it('refuses a snapshot that lists no targets at all', async () => {
    const { repository, online, client } = await settledWorld();
    repository.rotateKeys('snapshot');
    repository.snapshot.meta = {};
    repository.publish('root', 'snapshot', 'timestamp');
    await expectRefusal(client.refresh(online), 'TUF_NOT_FOUND', '5.6.1');
  });
});

describe('5.7 verify the target', () => {
  const lookUp = async () => {
    const { client, online } = await settledWorld();
    const target = await client.target(PATH, online);
    if (!target) throw new Error('The release was not found.');
    return target;
  };

  it('5.7.2 says that there is no such target', async () => {
    const { client, online } = await settledWorld();
    expect(await client.target('gas/9.9.9.json', online)).toBeUndefined();
    expect(await client.target('constructor', online)).toBeUndefined();
  });

  it('5.7.3 accepts the bytes that were published', async () => {
    expect(() => verifyTargetBytes({ ...fixedTarget }, RELEASE)).toThrow();
    verifyTargetBytes(await lookUp(), RELEASE);
  });

  it.each([
    ['one byte more', Buffer.concat([RELEASE, Buffer.from(' ')])],
    ['one byte less', RELEASE.subarray(1)],
    ['another byte', Buffer.from(RELEASE.toString().replace('1', '2'))],
  ])('5.7.3 refuses %s', async (_, bytes) => {
    const target = await lookUp();
    expect(() => verifyTargetBytes(target, bytes)).toThrow(expect.objectContaining({ code: 'TUF_TARGET_MISMATCH' }));
  });

  it('5.7.3 refuses a target with a hash that it cannot verify', async () => {
    const target = await lookUp();
    const unknown = { ...target, hashes: { ...target.hashes, sha3: '00' } };
    expect(() => verifyTargetBytes(unknown, RELEASE)).toThrow('unknown kind');
  });
});

const fixedTarget = { path: PATH, role: 'gas', length: RELEASE.length, hashes: { sha256: '0'.repeat(64) } };
