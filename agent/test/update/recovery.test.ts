import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { signRecoveryStatement, type RecoveryStatement } from '@drover/shared/protocol';
import { createKeyPair, occasionalSigner } from '@drover/shared/trust';
import { modelState, nextMacrotask, openBench, type Bench } from './fixtures/bench.js';
import { directorKey, keySetOf, orderFor, publish, rootKey, signed, type Published } from './fixtures/releases.js';

const newDirector = createKeyPair('the director after the recovery');
const statement = (change: Partial<RecoveryStatement> = {}, key = rootKey): Buffer =>
  signRecoveryStatement(
    {
      protocol: 1,
      kind: 'recovery',
      epoch: 2,
      director: keySetOf(newDirector),
      reason: 'the disk of the control plane died',
      issuedAt: 1,
      ...change,
    },
    [occasionalSigner(key)],
  );

describe('a recovery statement', () => {
  let bench: Bench;
  let first: Published;
  let second: Published;
  beforeEach(async () => {
    [first, second] = [publish('1.0.0'), publish('1.1.0')];
    bench = await openBench([first, second]);
    await bench.updater.resume();
    await bench.order(orderFor(first, { counter: 50 }));
  });
  afterEach(() => bench.close());
  const orderOf = (release: Published, epoch: number, counter: number, key = newDirector) =>
    signed(orderFor(release, { epoch, counter }), key);
  const receive = async (bytes: Buffer) => {
    await bench.updater.receive(bytes);
    await nextMacrotask();
    await bench.settled();
  };
  const refusedWith = () => bench.refusals.map(({ subject, error }) => `${subject} ${error.code}`);

  it('when it is signed by the root keys, orders of the new director with small counters are taken, also after a restart', async () => {
    await receive(statement());
    await bench.restart();
    await receive(orderOf(second, 2, 1));
    expect(refusedWith()).toEqual([]);
    expect(modelState(bench)).toMatchObject({
      running: { release: second.release },
      accepted: { epoch: 2, counter: 1 },
    });
  });

  it('when it was taken, the old director and the old epoch are refused', async () => {
    await receive(statement());
    await receive(orderOf(second, 1, 51, directorKey));
    await receive(orderOf(second, 1, 52));
    expect(refusedWith()).toEqual(['deployment SIGNATURE_BELOW_THRESHOLD', 'deployment DEPLOYMENT_REPLAYED']);
    expect(modelState(bench)?.running?.release).toEqual(first.release);
  });

  it('when it comes again, nothing happens; an older one is a replay, and so is another of its epoch', async () => {
    await receive(statement({ epoch: 3 }));
    await receive(statement({ epoch: 3 }));
    expect(refusedWith()).toEqual([]);
    await receive(statement());
    await receive(statement({ epoch: 3, director: keySetOf(directorKey) }));
    expect(refusedWith()).toEqual(['recovery RECOVERY_REPLAYED', 'recovery RECOVERY_REPLAYED']);
  });

  it('when the agent stops before it has looked for a newer root, it is neither taken nor refused, and the next takes it', async () => {
    let hasAsked: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => (hasAsked = resolve));
    bench.server.metadataFault = () => {
      hasAsked();
      return true;
    };
    const received = expect(bench.updater.receive(statement())).rejects.toMatchObject({ code: 'UPDATE_CLOSED' });
    await asked;
    await bench.updater.close();
    await received;
    await expect(bench.updater.receive(orderOf(second, 1, 51))).rejects.toMatchObject({ code: 'UPDATE_CLOSED' });
    expect(refusedWith()).toEqual([]);
    bench.server.metadataFault = undefined;
    await bench.restart();
    await receive(statement());
    await receive(orderOf(second, 2, 1));
    expect(modelState(bench)).toMatchObject({ running: { release: second.release } });
  });

  it('when it is refused and a newer root could not be looked for, the refusal says so and why', async () => {
    await receive(statement({}, directorKey));
    bench.server.metadataFault = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    await receive(statement({}, directorKey));
    const [sound, blind] = bench.refusals.map(({ error }) => error.what);
    expect(sound).not.toContain('root version');
    expect(blind).toMatch(/judged by root version \d+; a newer one may have been missed.*FETCH_UNREACHABLE.*503/);
  });

  it.each([
    ['by the director', directorKey],
    ['by the new director itself', newDirector],
  ])('when it is signed %s, it is refused', async (_, key) => {
    await receive(statement({}, key));
    await receive(orderOf(second, 2, 1));
    expect(refusedWith()).toEqual(['recovery SIGNATURE_BELOW_THRESHOLD', 'deployment SIGNATURE_BELOW_THRESHOLD']);
    expect(modelState(bench)?.running?.release).toEqual(first.release);
  });

  it('when no statement opened the epoch, the director alone cannot', async () => {
    await receive(orderOf(second, 2, 1, directorKey));
    expect(refusedWith()).toEqual(['deployment DEPLOYMENT_EPOCH_UNPROVEN']);
  });

  it('when the journal is lost, the mirror keeps it', async () => {
    await receive(statement());
    await bench.updater.close();
    await rm(join(bench.dataDir, 'journal.db-wal'), { force: true });
    await writeFile(join(bench.dataDir, 'journal.db'), 'no database');
    await bench.boot();
    await bench.updater.resume();
    await receive(orderOf(second, 1, 60, directorKey));
    expect(refusedWith()).toEqual(['deployment SIGNATURE_BELOW_THRESHOLD']);
  });

  it('when the device enrols anew after it, the later word holds', async () => {
    await receive(statement());
    const third = createKeyPair('a director of epoch 3');
    await bench.restart({ enrolled: { epoch: 3, director: keySetOf(third) } });
    await receive(orderOf(second, 3, 1, third));
    expect(modelState(bench)?.running?.release).toEqual(second.release);
  });
});
