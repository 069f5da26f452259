import type { Digest, Version } from '@drover/shared/ids';
import type { Repulse } from './attack.js';
import type { AttackWorld } from './world.js';

export interface Expected {
  readonly code: string;
  /** Of the TUF specification, where it is a rule of TUF that refuses. */
  readonly section?: string;
}

/** The refusal that the victim reports after `send`: it has to be the expected one. */
export async function refusalOf(
  world: AttackWorld,
  send: () => Promise<void>,
  { code, section }: Expected,
): Promise<Repulse> {
  const watch = await world.watch();
  await send();
  const { error } = await watch.refusal();
  if (error.code !== code || (section !== undefined && !error.what.includes(`(TUF ${section}`)))
    throw new Error(`It was refused as ${error.code}, not as ${code} by ${section ?? 'any rule'}: ${error.what}`);
  return { code, seenIn: 'refusal report' };
}

/** The release is ordered with the director's key. */
export const refusalOfOrder = (
  world: AttackWorld,
  release: { readonly version: Version; readonly digest: Digest },
  expected: Expected,
  expiresAt = Date.now() + 3_600_000,
): Promise<Repulse> => refusalOf(world, () => world.sendOrder(world.forgeOrder(release, { expiresAt })), expected);
