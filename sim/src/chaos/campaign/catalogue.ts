import { Type, type Static } from 'typebox';
import type { SeededRandom } from '@drover/shared/statistics';
import { killPointOf, type KillPlace } from '../device/plan.js';

/** What is known of a moment: a kill point, before or after its write, for one kind of release. */
const Moment = Type.Object({
  /** Most often in one life. */
  mostPassed: Type.Integer({ minimum: 1 }),
  kills: Type.Integer({ minimum: 0 }),
});
type Moment = Static<typeof Moment>;

export const CatalogueJson = Type.Object({
  moments: Type.Record(Type.String(), Moment),
  /** By the kind of life. */
  misses: Type.Record(Type.String(), Type.Integer({ minimum: 0 })),
});
export type CatalogueJson = Static<typeof CatalogueJson>;

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
      else this.#moments.set(name, { mostPassed: times, kills: 0 });
    }
  }
  noteKill(name: string): void {
    const known = this.#moments.get(name) ?? { mostPassed: 1, kills: 0 };
    this.#moments.set(name, { ...known, kills: known.kills + 1 });
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
  leastKilledMoment(isCandidate: (moment: string) => boolean, random: SeededRandom): KillPlace | undefined {
    const candidates = [...this.#moments].filter(([name]) => isCandidate(name));
    const fewest = candidates.reduce((least, [, { kills }]) => Math.min(least, kills), Infinity);
    const rarest = candidates.filter(([, { kills }]) => kills === fewest);
    const chosen = rarest[random.nextInt(Math.max(1, rarest.length))];
    if (!chosen) return undefined;
    const [moment, { mostPassed }] = chosen;
    return { at: 'moment', moment, occurrence: 1 + random.nextInt(mostPassed) };
  }
  toJSON(): CatalogueJson {
    return { moments: Object.fromEntries(this.#moments), misses: Object.fromEntries(this.#misses) };
  }
}
