import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '@drover/shared/ids';
import { modelState, nextMacrotask, openBench, served, type Bench } from './fixtures/bench.js';
import { model, orderFor, publish, signed } from './fixtures/releases.js';

const first = publish('1.0.0', { bytes: 5_000 });
const second = publish('1.1.0', { bytes: 5_000 });
const third = publish('1.2.0', { bytes: 5_000 });

let bench: Bench;
beforeEach(async () => {
  bench = await openBench([first, second, third]);
  await bench.updater.resume();
});
afterEach(() => bench.close());

const file = (...parts: string[]): string => join(bench.dataDir, ...parts);
const codes = (): string[] => bench.incidents.map(({ error }) => error.code);

async function restartOn(damage: () => Promise<void>): Promise<void> {
  await bench.updater.close();
  await damage();
  await bench.boot();
  await bench.updater.resume();
}

describe('when the journal has lost what it held, without being damaged in itself', () => {
  it('takes from the mirror what serves and what was accepted, and says so', async () => {
    const order = orderFor(first);
    await bench.order(order);
    await restartOn(async () => {
      await truncate(file('journal.db'));
      await rm(file('journal.db-wal'), { force: true });
    });
    expect(served(bench)).toBe('1.0.0');
    expect(codes()).toEqual(['UPDATE_JOURNAL_BEHIND']);
    await bench.updater.receive(signed(order));
    expect(bench.refusals.at(-1)?.error.code).toBe('DEPLOYMENT_REPLAYED');
  });

  it('goes by the mirror where the journal is only older, and drops the update that it remembers', async () => {
    await bench.order(orderFor(first));
    await bench.updater.close();
    await cp(file('journal.db'), file('journal.db.older'));
    await bench.restart();
    const newer = orderFor(second);
    await bench.order(newer);
    await restartOn(async () => {
      await cp(file('journal.db.older'), file('journal.db'));
      await rm(file('journal.db-wal'), { force: true });
    });
    expect(served(bench)).toBe('1.1.0');
    expect(modelState(bench)).toMatchObject({ accepted: { counter: newer.counter }, update: { state: 'idle' } });
    await bench.order(orderFor(third));
    expect(served(bench)).toBe('1.2.0');
  });

  it('believes no mirror that was damaged', async () => {
    await bench.order(orderFor(first));
    await restartOn(async () => {
      const text = await readFile(file('journal-mirror.json'), 'utf8');
      await writeFile(file('journal-mirror.json'), text.replace('1.0.0', '9.0.0'));
      await truncate(file('journal.db'));
      await rm(file('journal.db-wal'), { force: true });
    });
    expect(bench.updater.state()).toEqual([]);
  });

  it('writes a lost mirror anew, so that the next loss is survived as well', async () => {
    await bench.order(orderFor(first));
    await restartOn(() => rm(file('journal-mirror.json')));
    await restartOn(() => truncate(file('journal.db')));
    expect(served(bench)).toBe('1.0.0');
  });
});

describe('when files of a release are damaged on the disk', () => {
  /** Other bytes, same size: only the digest tells. */
  const flip = async (path: string): Promise<void> => {
    const bytes = await readFile(path);
    await writeFile(path, bytes.fill(0, bytes.length >> 1));
  };

  it('fetches a damaged blob again within the same order', async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
    const labels = first.manifest.assets[0]?.file.digest ?? '';
    await flip(file('blobs', labels.slice(7)));
    await bench.order(orderFor(third));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'committed', release: third.release });
    expect(digestOf(await readFile(join(bench.updater.active(model)?.directory ?? '', 'labels.txt')))).toBe(labels);
  });

  it('builds a damaged release folder anew when the release is ordered again', async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
    const folder = file('releases', first.release.digest.slice(7));
    await flip(join(folder, 'models/plain.onnx'));
    const downgrade = {
      from: second.release,
      to: first.release,
      reason: 'worse in the field',
      expiresAt: Date.UTC(2026, 11, 1),
      cohort: 'all',
    };
    await bench.order(orderFor(first, { downgrade }));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'committed', release: first.release });
    expect(bench.serving.running(model)?.loaded).toBe(digestOf(first.modelBytes));
  });

  it('builds a folder anew of which a file is missing', async () => {
    await bench.order(orderFor(first));
    const folder = file('releases', first.release.digest.slice(7));
    await restartOn(() => rm(join(folder, 'models'), { recursive: true }));
    expect(served(bench)).toBeUndefined();
    await bench.order(orderFor(first));
    expect(served(bench)).toBe('1.0.0');
  });

  it('starts though the manifest of a release is damaged, and fetches it again when it is ordered', async () => {
    await bench.order(orderFor(first));
    await bench.order(orderFor(second));
    const manifest = file('releases', second.release.digest.slice(7), '.release.json');
    await restartOn(() => truncate(manifest, 100));
    expect(served(bench)).toBe('1.0.0');
    await bench.order(orderFor(second));
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'committed', release: second.release });
    expect(served(bench)).toBe('1.1.0');
  });

  it('serves the committed release by the end of its resumption when the candidate was damaged while it was off', async () => {
    await bench.order(orderFor(first));
    await bench.updater.close();
    await bench.boot({
      killPoint: (name) => {
        if (name === 'journal:to:idle') throw new Error('the power is cut');
      },
    });
    await bench.updater.resume();
    await bench.updater.receive(signed(orderFor(second)));
    while (modelState(bench)?.update.state !== 'committing') await nextMacrotask();
    for (let turn = 0; turn < 50; turn += 1) await nextMacrotask();
    await restartOn(() => truncate(file('releases', second.release.digest.slice(7), '.release.json'), 100));
    expect(served(bench)).toBe('1.0.0');
  });

  it('says what it cannot mend, and takes the next order', async () => {
    await bench.order(orderFor(first));
    bench.server.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false;
      response.writeHead(404).end();
      return true;
    };
    await flip(file('blobs', digestOf(first.modelBytes).slice(7)));
    await bench.updater.receive(signed(orderFor(second)));
    await nextMacrotask();
    await bench.settled();
    expect(modelState(bench)?.lastOutcome).toMatchObject({ outcome: 'fell-back', error: { code: 'FETCH_NOT_FOUND' } });
    bench.server.fault = undefined;
    await bench.order(orderFor(third));
    expect(served(bench)).toBe('1.2.0');
  });
});

describe('when a stop left temporary files behind', () => {
  it('removes them at the next start', async () => {
    await bench.order(orderFor(first));
    await restartOn(async () => {
      await writeFile(file('journal-mirror.json.0123456789ab.tmp'), '{');
      await writeFile(file('incoming', `${'a'.repeat(64)}.json.0123456789ab.tmp`), '{');
      await writeFile(file('adaptations', `${'a'.repeat(64)}.onnx.tmp`), 'x');
    });
    const left = (await readdir(bench.dataDir, { recursive: true })).filter((name) => name.endsWith('.tmp'));
    expect(left).toEqual([]);
  });
});
