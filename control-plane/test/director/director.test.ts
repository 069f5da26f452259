import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDeploymentId, type Digest } from '@drover/shared/ids';
import { parametersOf } from '@drover/shared/manifest';
import { openDeployment, type Probation } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import {
  createDirector,
  desiredReleases,
  reconcile,
  type Director,
  type OrderTable,
} from '../../src/director/index.js';
import { audit } from '../../src/governance/index.js';
import { createWorld, MODEL, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';

const probation: Probation = { minMs: 0, minRequests: 0, maxMs: 1, maxFailureShare: 1, maxCrashes: 1 };
const HOUR_MS = 3_600_000;

describe('the director', () => {
  const key = createKeyPair('director');
  let world: World;
  let device: ScriptedDevice;
  let release: Release;
  let sent: OrderTable['envelope'][];
  let director: Director;

  beforeEach(async () => {
    world = await createWorld();
    release = await world.publish('1.0.0');
    device = await world.device('alpha');
    sent = [];
    director = createDirector({
      db: world.db,
      signer: bulkSigner(key),
      recovery: world.recovery,
      now: () => world.clock.nowMs,
      orderTtlMs: HOUR_MS,
      resendMs: 3000,
      publisher: {
        publish: (_topic, payload) => {
          sent.push(Buffer.from(payload).toString('utf8'));
          return Promise.resolve();
        },
      },
    });
  });
  afterEach(() => world.close());

  const issue = () =>
    world.db.transaction().execute((trx) =>
      director.issue(trx, {
        device: { id: device.id, hardwareClass: 'cpu-small' },
        model: MODEL,
        release,
        probation,
      }),
    );
  const lostOrders = async () => (await audit(world.db).list()).filter(({ action }) => action === 'order.history-lost');
  const open = (envelope: string) => openDeployment(Buffer.from(envelope), { threshold: 1, keys: [publicKeyOf(key)] });

  it('when orders are issued, also at the same time, their counters grow by one and their nonces differ', async () => {
    const orders = (await Promise.all([issue(), issue(), issue()])).map(({ envelope }) => open(envelope));
    expect(orders.map(({ counter }) => counter).sort()).toEqual([1, 2, 3]);
    expect(new Set(orders.map(({ nonce }) => nonce)).size).toBe(3);
    expect(orders[0]).toMatchObject({ deviceId: 'alpha', epoch: 1, hardwareClass: 'cpu-small', release });
    expect(orders[0]?.expiresAt).toBe(world.clock.nowMs + HOUR_MS);
  });

  it('when the database is older than the device (a restored backup), the next counter is above what the device accepted', async () => {
    await device.report('state', {
      agentVersion: 'test',
      hardwareClass: 'cpu-small',
      attributes: {},
      models: [{ model: MODEL, update: { state: 'idle' }, accepted: { epoch: 1, counter: 41 } }],
    });
    expect((await issue()).counter).toBe(42);
  });

  it('when a device accepted an order that the database does not know, nothing is sent, and the audit log says so once', async () => {
    await issue();
    await device.report('state', {
      agentVersion: 'test',
      hardwareClass: 'cpu-small',
      attributes: {},
      models: [{ model: MODEL, update: { state: 'idle' }, accepted: { epoch: 1, counter: 41 } }],
    });
    const before = await lostOrders();
    await director.settle(device.id);
    await director.settle(device.id);
    expect(sent).toEqual([]);
    expect((await lostOrders()).slice(before.length)).toMatchObject([
      { subject: 'alpha', detail: { epoch: 1, counter: 1 } },
    ]);
  });

  it('when a device states that it lacks what is desired, the order is sent again, but not at every report', async () => {
    const order = await issue();
    await director.send(order);
    await director.settle(device.id);
    expect(sent).toHaveLength(1);
    world.clock.nowMs += 3000;
    await director.settle(device.id);
    expect(sent).toEqual([order.envelope, order.envelope]);
    expect((await desiredReleases(world.db, [device.id])).get(device.id)).toMatchObject([{ release, counter: 1 }]);
  });

  it('when a device begins to listen just after an order was sent to nobody, it gets that at once', async () => {
    const order = await issue();
    await director.send(order);
    await director.welcome(device.id);
    expect(sent).toEqual([order.envelope, order.envelope]);
    await director.settle(device.id);
    expect(sent).toHaveLength(2);
  });

  it('when an order is exported, it goes only to an agent that knows the kind of the release, like every order', async () => {
    const model = parametersOf(MODEL);
    const newer = await world.device('beta');
    await newer.report('state', {
      agentVersion: 'test',
      hardwareClass: 'cpu-small',
      attributes: {},
      models: [],
      takes: ['model', 'parameters'],
    });
    const exported = async ({ id }: ScriptedDevice) => {
      const order = { device: { id, hardwareClass: 'cpu-small' }, model, release, probation };
      await world.db.transaction().execute((trx) => director.issue(trx, order));
      return director.exportOrder({ device: id, model, digest: release.digest, ttlMs: 2 * HOUR_MS, by: 'test' });
    };
    expect(await exported(device)).toBe('not-taken');
    expect(await exported(newer)).toMatchObject({ counter: 2, expires_at: world.clock.nowMs + 2 * HOUR_MS });
  });

  it('when the order expired while the device was away, it is signed anew under the next counter', async () => {
    const order = await issue();
    world.clock.nowMs += HOUR_MS;
    await director.settle(device.id);
    expect(sent.map(open)).toMatchObject([
      { counter: order.counter + 1, release, expiresAt: world.clock.nowMs + HOUR_MS },
    ]);
  });
});

describe('reconcile', () => {
  const digest = `sha256:${'a'.repeat(64)}` as Digest;
  const order = {
    deployment_id: newDeploymentId(),
    digest,
    epoch: 1,
    counter: 5,
    expires_at: 100,
    outcome: null,
    outcome_error: null,
  } as const;
  const said = (changes: object) =>
    ({
      deviceId: 'alpha',
      model: MODEL,
      update: { state: 'idle' },
      running: undefined,
      lastOutcome: undefined,
      receivedAt: 0,
      accepted: undefined,
      ...changes,
    }) as never;
  const runs = { release: { version: '1.0.0', digest }, loaded: digest, provider: { requested: [], actual: 'cpu' } };

  it.each([
    ['nothing was ever reported', order, undefined, 'send'],
    [
      'it runs the release and accepted this order',
      order,
      said({ running: runs, accepted: { epoch: 1, counter: 5 } }),
      'in-sync',
    ],
    [
      'it runs the release by an older order',
      order,
      said({ running: runs, accepted: { epoch: 1, counter: 4 } }),
      'send',
    ],
    [
      'it works on it',
      order,
      said({ update: { state: 'fetching', deploymentId: order.deployment_id }, accepted: { epoch: 1, counter: 5 } }),
      'under-way',
    ],
    ['it accepted it and knows nothing of it any more', order, said({ accepted: { epoch: 1, counter: 5 } }), 'reissue'],
    [
      'it accepted a later order than was ever given here',
      order,
      said({ accepted: { epoch: 1, counter: 9 } }),
      'history-lost',
    ],
    [
      'it accepted a later order, and this one was refused because it expired',
      { ...order, outcome: 'refused' as const, outcome_error: '{"code":"DEPLOYMENT_EXPIRED"}' },
      said({ accepted: { epoch: 1, counter: 9 } }),
      'history-lost',
    ],
    [
      'it fell back',
      { ...order, outcome: 'fell-back' as const },
      said({ accepted: { epoch: 1, counter: 5 } }),
      'ended',
    ],
    [
      'it refused an order that expired on its way',
      { ...order, outcome: 'refused' as const, outcome_error: '{"code":"DEPLOYMENT_EXPIRED"}' },
      undefined,
      'reissue',
    ],
  ] as const)('when %s', (_name, given, reported, expected) => {
    expect(reconcile(given, reported, { nowMs: 50, epoch: 1 })).toBe(expected);
  });

  it('when a device that had committed knows of no order any more, it gets the release again; one that fell back does not', () => {
    expect(reconcile({ ...order, outcome: 'committed' }, undefined, { nowMs: 50, epoch: 1 })).toBe('reissue');
    expect(reconcile({ ...order, outcome: 'committed' }, said({ accepted: undefined }), { nowMs: 50, epoch: 1 })).toBe(
      'reissue',
    );
    expect(
      reconcile({ ...order, outcome: 'committed' }, said({ accepted: { epoch: 1, counter: 5 } }), {
        nowMs: 50,
        epoch: 1,
      }),
    ).toBe('ended');
    expect(reconcile({ ...order, outcome: 'fell-back' }, undefined, { nowMs: 50, epoch: 1 })).toBe('ended');
  });

  it('when a recovery opened a new epoch: what the device got in the lost time stays, what it never got is signed anew', () => {
    const recovered = { nowMs: 50, epoch: 2 };
    expect(reconcile(order, said({ accepted: { epoch: 1, counter: 9 } }), recovered)).toBe('ended');
    expect(reconcile(order, said({ accepted: { epoch: 1, counter: 4 } }), recovered)).toBe('reissue');
    expect(reconcile(order, undefined, recovered)).toBe('reissue');
    expect(reconcile(order, said({ running: runs, accepted: { epoch: 1, counter: 5 } }), recovered)).toBe('in-sync');
  });

  it('when the order has expired and nobody took it, it is issued anew', () => {
    expect(reconcile(order, undefined, { nowMs: 100, epoch: 1 })).toBe('reissue');
  });
});
