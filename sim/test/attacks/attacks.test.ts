import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tryAttack } from '../../src/attacks/attack.js';
import { ATTACKS } from '../../src/attacks/table.js';
import { openAttackWorld, type AttackWorld } from '../../src/attacks/world.js';

let world: AttackWorld;
const stop = new AbortController();
beforeAll(async () => {
  world = await openAttackWorld(stop.signal);
}, 120_000);
afterAll(async () => {
  stop.abort(new Error('the tests are over'));
  await world.close();
}, 60_000);

describe('when a fleet is attacked', () => {
  it.each(ATTACKS)(
    'refuses $name',
    async (attack) => {
      const { failure, repulse } = await tryAttack(attack, world);
      expect(failure).toBeUndefined();
      expect(repulse?.code).toMatch(/^[A-Z_]+$/);
    },
    90_000,
  );

  it('has a name of its own for each attack', () => {
    const names = ATTACKS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('the proof that the device serves the right model', () => {
  it('can tell the releases apart by their answers', async () => {
    expect(world.older.answer).not.toBe(world.base.answer);
    expect(await world.publisher.infer(world.victim.endpoint())).toBe(world.base.answer);
  });

  it('counts an attack as accepted that nobody refused', async () => {
    const harmless = {
      name: 'nothing',
      attackerHas: 'nothing',
      carryOut: () => Promise.reject(new Error('nobody refused it')),
    };
    expect((await tryAttack(harmless, world)).failure).toBe('nobody refused it');
  });
});
