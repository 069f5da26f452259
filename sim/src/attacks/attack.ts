import type { AttackWorld } from './world.js';

/** How an attack was met. */
export interface Repulse {
  /** Code of the refusal. */
  readonly code: string;
  /** Where an operator sees it. */
  readonly seenIn:
    'refusal report' | 'incident report' | 'transition report' | 'state report' | 'audit log' | 'metrics';
}

export interface Attack {
  /** As threat models name it. */
  readonly name: string;
  /** What the attacker has got hold of. */
  readonly attackerHas: string;
  /** Carries the attack out, and returns how it was refused. Throws when it was not, or when nobody could see it. */
  readonly carryOut: (world: AttackWorld) => Promise<Repulse>;
}

export interface AttackResult {
  readonly attack: Attack;
  readonly repulse?: Repulse;
  /** Why the attack counts as accepted. */
  readonly failure?: string;
}

/** One attack, and then the proof that the device still answers with the right model. Afterwards the world is ready for the next. */
export async function tryAttack(attack: Attack, world: AttackWorld): Promise<AttackResult> {
  const problems: string[] = [];
  const noting = async <Result>(act: () => Promise<Result>): Promise<Result | undefined> => {
    try {
      return await act();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  const repulse = await noting(() => attack.carryOut(world));
  await noting(() => world.recover());
  await noting(() => world.assertServesBase());
  return problems.length === 0 && repulse ? { attack, repulse } : { attack, failure: problems.join(' ') };
}
