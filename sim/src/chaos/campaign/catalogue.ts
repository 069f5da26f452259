import { Type, type Static } from 'typebox';
import type { SeededRandom } from '@drover/shared/statistics';
import { killPointOf, type KillPlace } from '../device/plan.js';

/** What is known of a moment: a kill point, before or after its write, for one kind of release. */
const Moment = Type.Object({
  /** Most often in one life. */
  mostPassed: Type.Integer({ minimum: 1 }),
  kills: Type.Integer({ minimum: 0 }),
  /** Lives that were to end at it and did not come to it: many moments need a certain life before. */
  missed: Type.Integer({ minimum: 0 }),
});
type Moment = Static<typeof Moment>;

export const CatalogueJson = Type.Object({
  moments: Type.Record(Type.String(), Moment),
  /** By the kind of life. */
  misses: Type.Record(Type.String(), Type.Integer({ minimum: 0 })),
});
export type CatalogueJson = Static<typeof CatalogueJson>;

/** Of the kills at a moment: the first time that it comes. */
const FIRST_SHARE = 0.5;

/** All moments that were ever passed, and how often a device was killed at each. */
export class KillPointCatalogue {
  readonly #moments: Map<string, Moment>;
  readonly #misses: Map<string, number>;

  constructor({ moments, misses }: CatalogueJson = { moments: {}, misses: {} }) {
    this.#moments = new Map(Object.entries(moments).map(([name, counts]) => [name, { ...counts }]));
    this.#misses = new Map(Object.entries(misses));
  }

  notePassed(passed: Readonly<Record<string, number>>): void {
    for (const [name, times] of Object.entries(passed)) {
      const known = this.#moments.get(name);
      if (known) known.mostPassed = Math.max(known.mostPassed, times);
      else this.#moments.set(name, { mostPassed: times, kills: 0, missed: 0 });
    }
  }
  noteKill(name: string): void {
    const known = this.#moments.get(name) ?? { mostPassed: 1, kills: 0, missed: 0 };
    this.#moments.set(name, { ...known, kills: known.kills + 1 });
  }
  /** A life was to end at this moment and did not. */
  noteMissed(name: string): void {
    const known = this.#moments.get(name);
    if (known) known.missed += 1;
  }
  /** Whether a life that looked for an unreached kill point has met one. */
  noteSearch(kindOfLife: string, hasMet: boolean): void {
    this.#misses.set(kindOfLife, hasMet ? 0 : this.missesOf(kindOfLife) + 1);
  }
  missesOf(kindOfLife: string): number {
    return this.#misses.get(kindOfLife) ?? 0;
  }

  /** Kill points at which a device was killed at least once. */
  reachedPoints(): string[] {
    const killed = [...this.#moments].filter(([, { kills }]) => kills > 0);
    return [...new Set(killed.map(([name]) => killPointOf(name)))];
  }
  /** Kill points that were passed, and nobody was killed there. */
  unreachedPoints(): string[] {
    const reached = new Set(this.reachedPoints());
    return [...new Set([...this.#moments.keys()].map(killPointOf))].filter((point) => !reached.has(point));
  }
  /** Of several, one of a kill point at which nobody was killed yet. */
  leastTriedMoment(isCandidate: (moment: string) => boolean, random: SeededRandom): KillPlace | undefined {
    const candidates = [...this.#moments].filter(([name]) => isCandidate(name));
    const tries = ({ kills, missed }: Moment): number => kills + missed;
    const fewest = candidates.reduce((least, [, moment]) => Math.min(least, tries(moment)), Infinity);
    const rarest = candidates.filter(([, moment]) => tries(moment) === fewest);
    const reached = new Set(this.reachedPoints());
    const unreached = rarest.filter(([name]) => !reached.has(killPointOf(name)));
    const among = unreached.length > 0 ? unreached : rarest;
    const chosen = among[random.nextInt(Math.max(1, among.length))];
    if (!chosen) return undefined;
    const [moment, { mostPassed }] = chosen;
    // Few lives come to it as often as the one that came most often.
    const occurrence = random.next() < FIRST_SHARE ? 1 : 1 + random.nextInt(mostPassed);
    return { at: 'moment', moment, occurrence };
  }
  toJSON(): CatalogueJson {
    return { moments: Object.fromEntries(this.#moments), misses: Object.fromEntries(this.#misses) };
  }
}
