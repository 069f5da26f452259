import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listEvents } from '../../src/rollouts/events.js';
import { recomputeStage, type StageEvidence } from '../../src/rollouts/index.js';
import { createWorld, request, until, type Release, type ScriptedDevice, type World } from './world.js';

const LABELS = 20;
const BASELINE_WINDOWS = 8;

describe('the rollout engine, over MQTT with scripted devices', () => {
  let world: World;
  let devices: ScriptedDevice[];
  let old: Release;

  beforeEach(async () => {
    world = await createWorld();
    old = await world.publish('1.0.0');
    devices = [];
    for (let index = 0; index < 6; index++) {
      const device = await world.device(`device-${index}`, index % 2 === 0 ? 'north' : 'south');
      await device.preinstall(old);
      devices.push(device);
    }
    for (let round = 0; round < BASELINE_WINDOWS; round++) await serveAll();
  });

  afterEach(async () => {
    await world.close();
    expect(world.errors).toEqual([]);
  });

  /** Every device serves one window: 18 of 20 right under any release but a bad one. */
  const serveAll = async (bad?: string): Promise<void> => {
    await Promise.all(devices.map((device) => device.serve(LABELS, device.running?.version === bad ? 12 : 18)));
  };
  const work = async (bad?: string): Promise<void> => {
    world.clock.nowMs += 500;
    await serveAll(bad);
    await world.engine.tick();
  };
  const untilState = (rollout: string, state: string, bad?: string): Promise<void> =>
    until(
      async () => (await world.stateOf(rollout)) === state,
      () => work(bad),
    );
  const running = () => devices.map(({ running: release }) => release?.version);
  const evidenceOf = async (rollout: string): Promise<StageEvidence[]> => {
    const rows = await world.db
      .selectFrom('rollout_stages')
      .select('evidence')
      .where('rollout_id', '=', rollout as never)
      .orderBy('id')
      .execute();
    return rows.map(({ evidence }) => JSON.parse(evidence ?? '') as StageEvidence);
  };

  it('when the release is good, it passes stage after stage and completes with every device on it', async () => {
    await world.publish('1.1.0');
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await untilState(rollout, 'completed');
    expect(running()).toEqual(devices.map(() => '1.1.0'));
    expect(new Set(Object.values(await world.memberStates(rollout)))).toEqual(new Set(['succeeded']));

    const stages = await evidenceOf(rollout);
    expect(stages.map(({ verdict }) => verdict)).toEqual(['PASS', 'PASS', 'PASS']);
    expect(stages.map(({ accuracy }) => accuracy.comparison.mode)).toEqual(['controls', 'controls', 'held-out']);
    for (const stage of stages) expect(recomputeStage(stage)).toEqual(stage);

    const events = await listEvents(world.db, rollout, { after: 0, limit: 1000 });
    expect(events.map(({ kind }) => kind)).toContain('stage.passed');
    expect(events.at(-1)?.message).toMatch(/running → completed: PASS/);
  });

  it('when the release is bad in the field, it halts at the canary, takes it back, and no other device ever ran it', async () => {
    await world.publish('1.1.0');
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await untilState(rollout, 'reverted', '1.1.0');
    const had = devices.filter(({ history }) => history.some((version) => version === '1.1.0'));
    expect(had).toHaveLength(2);
    expect(running()).toEqual(devices.map(() => '1.0.0'));
    for (const device of had) {
      expect(device.orders.at(-1)?.downgrade).toMatchObject({ from: { version: '1.1.0' }, to: { version: '1.0.0' } });
    }
    expect(devices.filter(({ orders }) => orders.length > 0)).toHaveLength(2);
    const [canary] = await evidenceOf(rollout);
    expect(canary?.verdict).toBe('FAIL');
    expect(canary?.reason).toMatch(/^Accuracy fell: mean change −\d+\.\d points/);
  });

  it('when devices fall back by themselves, the share of failures halts it', async () => {
    await world.publish('1.1.0');
    for (const device of devices) device.conduct = 'falls-back';
    const stages = [
      { name: 'half', share: 0.5 },
      { name: 'all', share: 1 },
    ];
    const rollout = await world.engine.create(request('1.1.0', { stages }), 'anna');
    await untilState(rollout, 'reverted');
    const [first] = await evidenceOf(rollout);
    expect(first?.failures).toMatchObject({ verdict: 'FAIL' });
    expect(running()).toEqual(devices.map(() => '1.0.0'));
  });

  it('when a device says "committed" and runs the old release, it never counts as a success', async () => {
    await world.publish('1.1.0');
    for (const device of devices) device.conduct = 'lies';
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    for (let round = 0; round < 10; round++) await work();
    const states = Object.values(await world.memberStates(rollout));
    expect(states.filter((state) => state === 'updating' || state === 'ordered')).toHaveLength(2);
    expect(states).not.toContain('succeeded');
    world.clock.nowMs += 3_600_000;
    await world.engine.tick();
    expect(await world.stateOf(rollout)).toBe('halted');
  });

  it('when the canaries are silent, time runs out and it halts: silence is no success', async () => {
    await world.publish('1.1.0');
    for (const device of devices) device.conduct = 'is-silent';
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await work();
    expect(await world.stateOf(rollout)).toBe('running');
    world.clock.nowMs += 3_600_000;
    await world.engine.tick();
    expect(await world.stateOf(rollout)).toBe('halted');
    const row = await world.db.selectFrom('rollouts').select('reason').executeTakeFirstOrThrow();
    expect(row.reason).toMatch(/time ran out: NO_DATA.*2 of 2 devices have not said/);
  });

  it('when the engine stops between stages, another one goes on where it was', async () => {
    await world.publish('1.1.0');
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await until(
      async () => Object.values(await world.memberStates(rollout)).includes('succeeded'),
      () => work(),
    );
    await world.restartEngine();
    await untilState(rollout, 'completed');
    expect(running()).toEqual(devices.map(() => '1.1.0'));
    // One order for each device: a restart orders nobody twice.
    expect(devices.map(({ orders }) => orders.length)).toEqual(devices.map(() => 1));
  });

  it('when an operator pauses it, nobody new is ordered until it is resumed', async () => {
    await world.publish('1.1.0');
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await work();
    await world.engine.pause(rollout, 'anna');
    const ordered = () => devices.filter(({ orders }) => orders.length > 0).length;
    const before = ordered();
    world.clock.nowMs += 2 * 3_600_000;
    for (let round = 0; round < 15; round++) await work();
    expect(ordered()).toBe(before);
    expect(await world.stateOf(rollout)).toBe('paused');
    await expect(world.engine.pause(rollout, 'anna')).rejects.toMatchObject({ code: 'ROLLOUT_TRANSITION_REFUSED' });
    await world.engine.resume(rollout, 'anna');
    await untilState(rollout, 'completed');
  });

  it('when an operator aborts and asks for the way back, devices return; without it they stay', async () => {
    await world.publish('1.1.0');
    await world.publish('1.2.0');
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await until(
      async () =>
        Object.values(await world.memberStates(rollout)).filter((state) => state === 'succeeded').length === 2,
      () => work(),
    );
    await expect(world.engine.create(request('1.2.0'), 'bert')).rejects.toMatchObject({ code: 'ROLLOUT_OVERLAP' });
    await world.engine.abort(rollout, { revert: true, reason: 'changed our mind', by: 'anna' });
    await untilState(rollout, 'reverted');
    expect(running()).toEqual(devices.map(() => '1.0.0'));

    const second = await world.engine.create(request('1.2.0'), 'bert');
    await until(
      async () => Object.values(await world.memberStates(second)).filter((state) => state === 'succeeded').length === 2,
      () => work(),
    );
    await world.engine.abort(second, { revert: false, reason: 'enough', by: 'bert' });
    expect(await world.stateOf(second)).toBe('aborted');
    for (let round = 0; round < 5; round++) await work();
    expect(running().filter((version) => version === '1.2.0')).toHaveLength(2);
  });

  it("when the publisher's floor forbids the way back, no order below it is signed", async () => {
    await world.publish('1.1.0', { revertFloor: '1.1.0' as never });
    const rollout = await world.engine.create(request('1.1.0'), 'anna');
    await untilState(rollout, 'reverted', '1.1.0');
    expect(running().filter((version) => version === '1.1.0')).toHaveLength(2);
    expect(devices.flatMap(({ orders }) => orders).some(({ downgrade }) => downgrade !== undefined)).toBe(false);
    const row = await world.db.selectFrom('rollouts').select('reason').executeTakeFirstOrThrow();
    expect(row.reason).toMatch(/2 could not be sent back and still have the release/);
  });

  it('when a device was away, it gets its order as it comes back', async () => {
    await world.publish('1.1.0');
    for (const device of devices) await device.leave();
    const rollout = await world.engine.create(request('1.1.0', { stages: [{ name: 'all', share: 1 }] }), 'anna');
    await world.engine.tick();
    for (const device of devices) await device.join();
    await untilState(rollout, 'completed');
  });
});
