import type { SeededRandom } from '@drover/shared/statistics';
import { killPointOf, type KillPlace } from '../device/plan.js';
import type { KillPointCatalogue } from './catalogue.js';

/** Kill points to pass over at most, where processes that run side by side shall not all die at the same one. */
const NEAR = 4;
const FAR = 60;
/** Now and then a kind that is believed to have none is looked at again. */
export const SECOND_LOOK_SHARE = 0.02;

/** A search that passed over more has not shown that there are none. */
const isThorough = ({ skip }: { readonly skip: number }): boolean => skip < NEAR;

/** Notes what a life has shown about its kill place. @param died the moment at which it was killed; undefined where it ended by itself */
export function noteOutcome(
  catalogue: KillPointCatalogue,
  kind: string,
  kill: KillPlace | { readonly at: 'time' | 'none' },
  died: string | undefined,
): void {
  if (kill.at === 'moment' && died !== kill.moment) catalogue.noteMissed(kill.moment);
  if (kill.at !== 'unreached' || !isThorough(kill)) return;
  const hasMet = died !== undefined && !kill.reached.includes(killPointOf(died));
  // Killed before its end at what was known, it has not looked everywhere.
  if (hasMet || died === undefined) catalogue.noteSearch(kind, hasMet);
}

export interface KillSearch {
  /** Of life: what its misses are counted under. */
  readonly kind: string;
  /** Lives of the kind without a kill point that was not reached before, after which it is believed to have none. */
  readonly enoughMisses: number;
  /** Which known moments this life can come to. */
  readonly isCandidate: (moment: string) => boolean;
  /** About so many are in a life. */
  readonly writes: number;
}

export const randomWrite = (writes: number, random: SeededRandom): KillPlace & { at: 'write' } => ({
  at: 'write',
  occurrence: 1 + random.nextInt(writes),
});

/** A kill point that nobody was killed at yet; where a kind of life has no more of these, its least tried moment. */
export function searchKill(
  catalogue: KillPointCatalogue,
  random: SeededRandom,
  { kind, enoughMisses, isCandidate, writes }: KillSearch,
): KillPlace {
  if (catalogue.missesOf(kind) < enoughMisses || random.next() < SECOND_LOOK_SHARE) {
    const phase = random.next() < 0.5 ? 'before' : 'after';
    return { at: 'unreached', reached: catalogue.reachedPoints(), skip: chooseSkip(random), phase };
  }
  return catalogue.leastTriedMoment(isCandidate, random) ?? randomWrite(writes, random);
}

/** Now and then far into what was not reached: what comes late in a life is to be known early in a campaign. */
const chooseSkip = (random: SeededRandom): number => random.nextInt(random.next() < 0.5 ? NEAR : FAR);
