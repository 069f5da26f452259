import { describe, expect, it } from 'vitest';
import { toExpiry } from '../../../src/trust/tuf/simulator/index.js';
import { DAY_MS, expectRefusal, heldVersions, nowMs, PATH, settledWorld, tamper, world } from './fixture.js';

describe('5.1 fix the time', () => {
  it('judges expiry by the given time alone, never by a clock', async () => {
    const { repository, online, client } = world();
    await client.refresh(online);
    // 30 days are what the simulator gives every role; the clock of this machine has nothing to do with it.
    const later = { ...online, nowMs: nowMs + 29 * DAY_MS };
    await client.refresh(later);
    expect(repository.requests.filter((name) => name === '2.snapshot.json')).toHaveLength(1);
    await expectRefusal(client.refresh({ ...online, nowMs: nowMs + 31 * DAY_MS }), 'TUF_EXPIRED', '5.3.10');
  });
});

describe('5.1 a clock that gives no time', () => {
  it.each([NaN, Infinity])('takes nothing for fresh: %s', async (brokenMs) => {
    const { client, online } = await settledWorld();
    await expectRefusal(client.refresh({ ...online, nowMs: brokenMs }), 'TUF_EXPIRED', '5.3.10');
    expect(client.status(brokenMs).stale).toMatchObject({ code: 'TUF_EXPIRED' });
  });
});

describe('5.4 update the timestamp', () => {
  it('5.4.1 needs one', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.files.delete('timestamp.json');
    await expectRefusal(client.refresh(online), 'TUF_NOT_FOUND', '5.4.1');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2 });
  });

  it('5.4.1 reads a bounded number of bytes', async () => {
    const { repository, online, client } = await settledWorld({ limits: { maxTimestampBytes: 1024 } });
    let asked = 0;
    const endless = {
      fetch: (name: string, { maxBytes }: { maxBytes: number }) => {
        if (name !== 'timestamp.json') return Promise.resolve(undefined);
        asked = maxBytes;
        return Promise.resolve(Buffer.alloc(1_000_000, ' '));
      },
    };
    await expectRefusal(client.refresh({ ...online, fetcher: endless }), 'TUF_TOO_LARGE', '5.4.1');
    expect(asked).toBe(1024);
    await client.refresh({ ...online, fetcher: repository.fetcher });
  });

  it('5.4.2 refuses one that another key signed', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.signers.set('timestamp', repository.signers.get('snapshot') ?? []);
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.4.2');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2 });
  });

  it('5.4.2 refuses one that was changed after it was signed', async () => {
    const settled = await settledWorld();
    settled.repository.publish('timestamp');
    tamper(settled, 'timestamp.json', (text) => text.replace('"version":3', '"version":4'));
    await expectRefusal(settled.client.refresh(settled.online), 'TUF_SIGNATURES_BELOW_THRESHOLD', '5.4.2');
  });

  it('5.4.2 refuses a properly signed file of another role', async () => {
    const { repository, online, client } = await settledWorld();
    // The very key of timestamp also signs a snapshot that looks like a timestamp.
    repository.addKey('snapshot', {
      signer: repository.signers.get('timestamp')?.[0] ?? repository.addKey('timestamp'),
    });
    repository.snapshot.meta['snapshot.json'] = { version: 9 };
    repository.publish('root', 'snapshot');
    repository.files.set('timestamp.json', repository.files.get('3.snapshot.json') ?? Buffer.alloc(0));
    const refusal = await expectRefusal(client.refresh(online), 'TUF_MALFORMED', '4.2.1');
    expect(refusal.message).toContain('it says that it is "snapshot"');
  });

  it('5.4.3.1 refuses a lower version', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.timestamp.version = 1;
    repository.serve('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.4.3.1');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2 });
  });

  it('5.4.3.1 keeps the one it has when another comes with the same version, and says nothing', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.timestamp.meta['snapshot.json'].version = 100;
    repository.serve('timestamp');
    await client.refresh(online);
    expect(repository.requests).toEqual(['2.root.json', 'timestamp.json']);
    expect(cache.changes).toEqual([]);
  });

  it('5.4.3.1 finishes what failed behind a timestamp of the same version', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.publish('snapshot', 'timestamp');
    const snapshot = repository.files.get('3.snapshot.json') ?? Buffer.alloc(0);
    repository.files.delete('3.snapshot.json');
    await expectRefusal(client.refresh(online), 'TUF_NOT_FOUND', '5.5.1');
    repository.files.set('3.snapshot.json', snapshot);
    await client.refresh(online);
    expect(heldVersions(cache)).toMatchObject({ timestamp: 3, snapshot: 3 });
  });

  it('5.4.3.1 holds an expired timestamp against a lower version', async () => {
    const { repository, online, client, open } = await settledWorld();
    repository.timestamp.expires = toExpiry(nowMs + DAY_MS);
    repository.publish('timestamp');
    await client.refresh(online);
    repository.timestamp.expires = toExpiry(nowMs + 9 * DAY_MS);
    repository.timestamp.version = 2;
    repository.serve('timestamp');
    const later = { ...online, nowMs: nowMs + 2 * DAY_MS };
    await expectRefusal(open().refresh(later), 'TUF_ROLLBACK', '5.4.3.1');
  });

  it('5.4.3.2 refuses a lower version of snapshot in a newer timestamp', async () => {
    const { repository, online, client, cache } = await settledWorld();
    repository.timestamp.meta['snapshot.json'].version = 1;
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_ROLLBACK', '5.4.3.2');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2, snapshot: 2 });
  });

  it.each([
    ['the day before', nowMs - DAY_MS],
    ['at this very moment', nowMs],
  ])('5.4.4 refuses one that expired %s', async (_, expiresMs) => {
    const { repository, online, client, cache } = await settledWorld();
    repository.timestamp.expires = toExpiry(expiresMs);
    repository.publish('timestamp');
    await expectRefusal(client.refresh(online), 'TUF_EXPIRED', '5.4.4');
    expect(heldVersions(cache)).toMatchObject({ timestamp: 2 });
  });

  it('5.4.4 says that it is held back when the timestamp it has expires and no newer one comes', async () => {
    const { repository, online, client } = await settledWorld();
    repository.timestamp.expires = toExpiry(nowMs + DAY_MS);
    repository.publish('timestamp');
    await client.refresh(online);
    const later = { ...online, nowMs: nowMs + 2 * DAY_MS };
    await expectRefusal(client.refresh(later), 'TUF_EXPIRED', '5.4.4');
    await expectRefusal(client.target(PATH, later), 'TUF_EXPIRED', '5.4.4');
    repository.timestamp.expires = toExpiry(nowMs + 9 * DAY_MS);
    repository.publish('timestamp');
    await client.refresh(later);
  });

  it('5.4.5 persists the bytes as they came', async () => {
    const settled = await settledWorld();
    settled.repository.publish('timestamp');
    tamper(settled, 'timestamp.json', (text) => `${text} `);
    await settled.client.refresh(settled.online);
    const kept = Buffer.from(settled.cache.entries.get('timestamp.json') ?? []);
    expect(kept.equals(settled.repository.files.get('timestamp.json') ?? Buffer.alloc(0))).toBe(true);
  });
});
