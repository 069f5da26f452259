import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { modelState, openBench, served, type Bench } from './fixtures/bench.js';
import { answering } from './fixtures/release-server.js';
import { list, model, orderFor, publish, publishersRepository } from './fixtures/releases.js';

const DAY_MS = 86_400_000;
const first = publish('1.0.0');
const second = publish('1.1.0');

let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second]);
  await bench.updater.resume();
  await bench.order(orderFor(first));
  bench.server.requests.length = 0;
});
afterEach(() => bench.close());

/** Orders 1.1.0 and expects it to be refused, before anything of it was fetched, with 1.0.0 serving on. */
async function expectRefusal(code: string, candidate = second): Promise<void> {
  await bench.order(orderFor(candidate));
  expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code } });
  expect(bench.refusals).toMatchObject([{ subject: 'release', error: { code } }]);
  expect(bench.server.requests).toEqual([]);
  expect(served(bench)).toBe('1.0.0');
}

describe('when the director orders what the publishers do not stand by', () => {
  it('refuses a release that they never listed, though the server has it', async () => {
    const forged = publish('1.2.0');
    bench.server.serve(forged);
    await expectRefusal('RELEASE_NOT_LISTED', forged);
  });

  it('refuses other bytes under a version that they did list', async () => {
    const forged = publish('1.1.0', { change: { description: 'exchanged by whoever holds the control plane' } });
    bench.server.serve(forged);
    await expectRefusal('REPOSITORIES_DISAGREE', forged);
  });

  it('refuses a release that was withdrawn', async () => {
    const { repository } = bench.server;
    const { [`${model}/1.1.0.json`]: _withdrawn, ...rest } = repository.targetsRole(model).targets;
    repository.targetsRole(model).targets = rest;
    repository.publish(model, 'snapshot', 'timestamp');
    await expectRefusal('RELEASE_NOT_LISTED');
  });

  it('refuses what a key signs that was taken from the model', async () => {
    const { repository } = bench.server;
    const stolen = repository.signers.get(model) ?? [];
    repository.rotateKeys(model);
    repository.signers.set(model, stolen);
    repository.publish('targets', model, 'snapshot', 'timestamp');
    await expectRefusal('TUF_SIGNATURES_BELOW_THRESHOLD');
  });

  it('refuses a repository that begins with another root', async () => {
    const foreign = publishersRepository();
    list(foreign, second);
    bench.server.metadataFault = answering((request, response) => {
      const name = request.url?.split('/').at(-1) ?? '';
      const bytes = foreign.files.get(name);
      if (bytes) response.end(bytes);
      else response.writeHead(404).end();
    });
    await expectRefusal('TUF_SIGNATURES_BELOW_THRESHOLD');
  });
});

describe('when publishers rotate their keys', () => {
  it('follows root, targets and the model to the new ones', async () => {
    const { repository } = bench.server;
    for (const role of ['root', 'targets', 'snapshot', 'timestamp']) repository.rotateKeys(role);
    repository.rotateKeys(model);
    repository.publish('root', 'targets', model, 'snapshot', 'timestamp');
    await bench.order(orderFor(second));
    expect(served(bench)).toBe('1.1.0');
    expect(bench.updater.repository().root.version).toBe(3);
  });
});

describe('when the repository is out of date', () => {
  const laterThanAll = () => bench.clock.advance(400 * DAY_MS);
  const yearsLater = { issuedAt: Date.UTC(2027, 1, 1), expiresAt: Date.UTC(2028, 0, 1) };

  it('refuses what is new, says that it is stale and why, and serves on', async () => {
    expect(bench.updater.repository().stale).toBeUndefined();
    laterThanAll();
    expect(bench.updater.repository().stale?.code).toBe('TUF_EXPIRED');
    await bench.order(orderFor(second, yearsLater));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'TUF_EXPIRED' } });
    expect(served(bench)).toBe('1.0.0');
  });

  it('goes back to a release that it had committed, by a signed order, whatever the repository can say', async () => {
    await bench.order(orderFor(second));
    const back = (reason: string) =>
      orderFor(first, {
        ...yearsLater,
        downgrade: { from: second.release, to: first.release, reason, expiresAt: yearsLater.expiresAt, cohort: 'all' },
      });
    laterThanAll();
    await bench.order(back('metadata has expired'));
    expect(served(bench)).toBe('1.0.0');
    expect(bench.transitions.find(({ reason }) => reason.includes('TUF_EXPIRED'))?.to).toBe('verifying');
  });

  it('goes back as well where the repository cannot be reached, but not to what was withdrawn', async () => {
    await bench.order(orderFor(second));
    const downgrade = {
      from: second.release,
      to: first.release,
      reason: 'test',
      expiresAt: Date.UTC(2026, 6, 1),
      cohort: 'all',
    };
    const { repository } = bench.server;
    repository.targetsRole(model).targets = {};
    repository.publish(model, 'snapshot', 'timestamp');
    await bench.order(orderFor(first, { downgrade }));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'RELEASE_NOT_LISTED' } });
    expect(served(bench)).toBe('1.1.0');
    bench.server.metadataFault = answering((_request, response) => response.writeHead(503).end());
    await bench.order(orderFor(first, { downgrade }));
    expect(served(bench)).toBe('1.0.0');
  });

  it('refuses older metadata than it has seen, also after a restart', async () => {
    const { repository } = bench.server;
    const old = repository.files.get('timestamp.json');
    list(repository, publish('1.2.0'));
    await bench.order(orderFor(second));
    bench.refusals.length = 0;
    await bench.restart();
    bench.server.metadataFault = (request, response) => {
      if (!request.url?.endsWith('/timestamp.json')) return false;
      response.end(old);
      return true;
    };
    await bench.order(orderFor(publish('1.2.0')));
    expect(bench.refusals).toMatchObject([{ error: { code: 'TUF_ROLLBACK' } }]);
  });

  it('judges by the time of signed orders where the clock reads 1970', async () => {
    await bench.order(orderFor(second));
    bench.clock.advance(-bench.clock.now());
    const late = Date.UTC(2027, 1, 1);
    await bench.order(orderFor(publish('1.0.0'), { issuedAt: late, expiresAt: late + DAY_MS }));
    // An order of 2027 was refused as a way back without a grant, so it raised nothing; a forward one does.
    expect(bench.updater.repository().stale).toBeUndefined();
    const next = publish('1.3.0');
    bench.server.add(next);
    await bench.order(orderFor(next, { issuedAt: late, expiresAt: late + DAY_MS }));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'refused', error: { code: 'TUF_EXPIRED' } });
    expect(served(bench)).toBe('1.1.0');
  });
});

describe('when the cache of metadata is damaged or lost', () => {
  it.each([
    ['zeroed', (file: string) => writeFile(file, Buffer.alloc(100))],
    ['cut', (file: string) => writeFile(file, '{"signed":{')],
    ['gone', (file: string) => rm(file)],
  ])('fetches anew what is %s, and installs the release', async (_, damage) => {
    const folder = join(bench.dataDir, 'metadata');
    const names = await readdir(folder);
    expect(names.length).toBeGreaterThanOrEqual(5);
    for (const name of names) await damage(join(folder, name));
    await bench.restart();
    expect(served(bench)).toBe('1.0.0');
    await bench.order(orderFor(second));
    expect(served(bench)).toBe('1.1.0');
  });
});

describe('when nothing is ordered', () => {
  it('can look for news all the same, and says why it could not', async () => {
    list(bench.server.repository, publish('1.2.0'));
    const before = bench.updater.repository().timestamp?.version ?? 0;
    await bench.updater.refreshRepository(new AbortController().signal);
    expect(bench.updater.repository().timestamp?.version).toBeGreaterThan(before);
    bench.server.metadataFault = answering((_request, response) => response.writeHead(503).end());
    await expect(bench.updater.refreshRepository(new AbortController().signal)).rejects.toMatchObject({
      code: 'FETCH_UNREACHABLE',
    });
  });
});
