import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRecoveryStatement } from '@drover/shared/protocol';
import {
  bulkSigner,
  createKeyPair,
  encodeEnvelope,
  occasionalSigner,
  publicKeyOf,
  type KeyPair,
} from '@drover/shared/trust';
import { beginRecovery } from '../../src/recovery/history.js';
import {
  createRequest,
  openRecovery,
  parseRequest,
  signRequest,
  toEnvelope,
  type Recovery,
  type RecoveryView,
} from '../../src/recovery/index.js';
import { createDirector } from '../../src/director/index.js';
import { startEngine } from '../../src/rollouts/index.js';
import { createWorld, request, type World } from '../rollouts/world.js';

const refusal = (code: string) => expect.objectContaining({ code }) as Error;

describe('when a backup was restored', () => {
  const [firstRoot, secondRoot, stranger] = [
    createKeyPair('first'),
    createKeyPair('second'),
    createKeyPair('stranger'),
  ];
  const director = createKeyPair('director');
  const keySetOf = (threshold: number, ...keys: KeyPair[]) => ({ threshold, keys: keys.map(publicKeyOf) });
  let world: World;
  let recovery: Recovery;
  let next: RecoveryView['next'];

  const open = () =>
    openRecovery({
      db: world.db,
      rootKeys: () => Promise.resolve(keySetOf(2, firstRoot, secondRoot)),
      director: keySetOf(1, director),
      now: () => 9,
    });
  const asked = (change: object = {}) =>
    createRequest({ protocol: 1, kind: 'recovery', ...next, reason: 'test', issuedAt: 8, ...change });
  const signedBy = (unsigned: ReturnType<typeof asked>, ...keys: KeyPair[]) =>
    encodeEnvelope(toEnvelope(keys.reduce((signed, key) => signRequest(signed, occasionalSigner(key)), unsigned)));

  beforeEach(async () => {
    world = await createWorld();
    await beginRecovery(world.db, { reason: 'A backup was restored', begunAt: 2 });
    recovery = await open();
    ({ next } = await recovery.view());
  });
  afterEach(() => world.close());

  it('gives no orders until the threshold of root keys has signed the next epoch, also over restarts', async () => {
    expect(recovery.isPending()).toBe(true);
    expect(() => recovery.verifyEnded()).toThrow(refusal('RECOVERY_PENDING'));
    await expect(recovery.install(signedBy(asked(), firstRoot), 'op')).rejects.toThrow(
      refusal('SIGNATURE_BELOW_THRESHOLD'),
    );
    await expect(recovery.install(signedBy(asked(), firstRoot, stranger), 'op')).rejects.toThrow(
      refusal('SIGNATURE_BELOW_THRESHOLD'),
    );
    expect((await open()).isPending()).toBe(true);
    await recovery.install(signedBy(asked(), firstRoot, secondRoot), 'op');
    recovery = await open();
    expect(() => recovery.verifyEnded()).not.toThrow();
    expect(recovery.epoch()).toBe(2);
    const statement = openRecoveryStatement(
      recovery.statement() ?? Buffer.alloc(0),
      keySetOf(2, firstRoot, secondRoot),
    );
    expect(statement).toMatchObject({ epoch: 2, director: keySetOf(1, director), reason: 'test' });
  });

  it('takes the same statement twice, and none that goes back or leaves out its own director', async () => {
    const statement = signedBy(asked({ epoch: 5 }), firstRoot, secondRoot);
    await recovery.install(statement, 'op');
    await recovery.install(statement, 'op');
    await expect(
      recovery.install(signedBy(asked({ epoch: 5, reason: 'other' }), firstRoot, secondRoot), 'op'),
    ).rejects.toThrow(refusal('RECOVERY_STATEMENT_REFUSED'));
    const foreign = asked({ epoch: 6, director: keySetOf(1, stranger) });
    await expect(recovery.install(signedBy(foreign, firstRoot, secondRoot), 'op')).rejects.toThrow(
      refusal('RECOVERY_STATEMENT_REFUSED'),
    );
    expect(recovery.epoch()).toBe(5);
  });

  it('asks for an epoch above all that devices have heard of, but for one that a device makes up', async () => {
    const nextAfter = async (epoch: number): Promise<number> => {
      await world.db.updateTable('device_models').set({ accepted_epoch: epoch, accepted_counter: 1 }).execute();
      return (await recovery.view()).next.epoch;
    };
    const device = await world.device('alpha');
    await device.preinstall(await world.publish('1.0.0'));
    expect(next.epoch).toBe(2);
    // The same backup was restored a moment ago, and this device took an order since.
    expect(await nextAfter(2)).toBe(3);
    expect(await nextAfter(999_999)).toBe(2);
  });

  it('shows signers what they sign: a request whose text and payload differ is refused', () => {
    const shown = { ...asked(), statement: { ...asked().statement, epoch: 7 } };
    expect(() => parseRequest(JSON.parse(JSON.stringify(shown)))).toThrow(refusal('RECOVERY_REQUEST_INVALID'));
    expect(() => toEnvelope(asked())).toThrow(refusal('RECOVERY_REQUEST_INVALID'));
  });
});

describe('when rollouts run in the database of a restored backup', () => {
  it('they are paused with the reason, nothing is ordered or created, and the release stays as each device runs it', async () => {
    const world = await createWorld();
    const old = await world.publish('1.0.0');
    await world.publish('1.1.0');
    const device = await world.device('alpha');
    await device.preinstall(old);
    const rollout = await world.engine.create(request('1.1.0', { stages: [{ name: 'all', share: 1 }] }), 'anna');
    await beginRecovery(world.db, { reason: 'A backup was restored', begunAt: world.clock.nowMs });
    expect(await world.stateOf(rollout)).toBe('paused');
    const restored = await openRecovery({
      db: world.db,
      rootKeys: () => Promise.reject(new Error('not asked for')),
      director: { threshold: 1, keys: [] },
      now: () => world.clock.nowMs,
    });
    const director = createDirector({
      db: world.db,
      signer: bulkSigner(createKeyPair('director')),
      publisher: world.broker,
      recovery: restored,
      now: () => world.clock.nowMs,
    });
    const engine = startEngine({
      db: world.db,
      director,
      recovery: restored,
      now: () => world.clock.nowMs,
      onError: () => undefined,
    });
    await expect(engine.create(request('1.1.0'), 'anna')).rejects.toThrow(refusal('RECOVERY_PENDING'));
    await engine.tick();
    await director.settle(device.id);
    expect(device.running).toEqual(old);
    await engine.close();
    await world.close();
  });
});
