import type { SeededRandom } from '@drover/shared/statistics';
import type { KillPlan } from '../device/plan.js';
import { scenarioOfRole, SCENARIOS, type Scenario } from './scenarios.js';

/** At a point; at a moment; or not at all, to learn which points there are. */
export type Kill =
  | { readonly at: 'point'; readonly point: string; readonly occurrence: number }
  /** The nth write of the life, whichever that is. */
  | { readonly at: 'write'; readonly occurrence: number }
  | { readonly at: 'moment'; readonly afterMs: number }
  | { readonly at: 'none' };

/** Where and how one life is to end; written down, so that an episode can be repeated. */
export interface LifeDecision {
  readonly scenario: Scenario;
  readonly kill: Kill;
  /** An order that was acknowledged before the kill is carried out before the next one arrives, which would end it. */
  readonly carriesOn: boolean;
  /** Seed of the damage that is done to one file after the kill. */
  readonly corruptionSeed?: number;
}

const RANDOM_MOMENT_SHARE = 0.1;
/** Of kills during the restart and the deployment after it: which writes those have depends on the kill before. */
const RESTART_SHARE = 0.25;
/** Writes from the start to the end of the deployment after it. */
const RESTART_WRITES = 400;
const CORRUPTION_SHARE = 0.15;
/** A life lasts about that long. */
const LIFE_MS = 1_100;

/** All kill points that were ever passed, and how often a device was killed at each. */
export class KillPointCatalogue {
  readonly #points = new Map<string, { mostPassed: number; kills: number }>();

  constructor(known: Readonly<Record<string, { mostPassed: number; kills: number }>> = {}) {
    for (const [point, counts] of Object.entries(known)) this.#points.set(point, { ...counts });
  }

  notePassed(passed: Readonly<Record<string, number>>): void {
    for (const [point, times] of Object.entries(passed)) {
      const known = this.#points.get(point);
      if (known) known.mostPassed = Math.max(known.mostPassed, times);
      else this.#points.set(point, { mostPassed: times, kills: 0 });
    }
  }
  noteKill(point: string): void {
    const known = this.#points.get(point);
    if (known) known.kills += 1;
    else this.#points.set(point, { mostPassed: 1, kills: 1 });
  }

  /** Distinct points at which a device was killed. */
  get reached(): number {
    return [...this.#points.values()].filter(({ kills }) => kills > 0).length;
  }
  get known(): number {
    return this.#points.size;
  }
  toJSON(): Record<string, { mostPassed: number; kills: number }> {
    return Object.fromEntries(this.#points);
  }

  /** One of the least killed points of a scenario; nobody is killed where no point is known yet. */
  choose(scenario: Scenario, random: SeededRandom): Kill {
    const candidates = [...this.#points].filter(([point]) => scenarioOfRole(roleOf(point)) === scenario);
    const fewest = Math.min(...candidates.map(([, { kills }]) => kills));
    const rarest = candidates.filter(([, { kills }]) => kills === fewest);
    const chosen = rarest[random.nextInt(Math.max(1, rarest.length))];
    if (!chosen) return { at: 'none' };
    const [point, { mostPassed }] = chosen;
    return { at: 'point', point, occurrence: 1 + random.nextInt(mostPassed) };
  }
  /** A scenario that has points where nobody was killed yet. */
  neglected(random: SeededRandom): Scenario | undefined {
    const scenarios = [...this.#points]
      .filter(([, { kills }]) => kills === 0)
      .map(([point]) => scenarioOfRole(roleOf(point)))
      .filter((scenario) => scenario !== undefined && scenario !== 'first') as Scenario[];
    return scenarios.length === 0 ? undefined : scenarios[random.nextInt(scenarios.length)];
  }
}

const roleOf = (point: string): string => point.split(' | ')[2] ?? '';
const OTHERS = (Object.keys(SCENARIOS) as Scenario[]).filter((name) => name !== 'first');

export interface DecisionFacts {
  readonly isFirstLife: boolean;
  readonly mayCorrupt: boolean;
}

/** Chooses what happens in the next life of a device. */
export function decideLife(catalogue: KillPointCatalogue, random: SeededRandom, facts: DecisionFacts): LifeDecision {
  const scenario = facts.isFirstLife ? 'first' : chooseScenario(catalogue, random);
  const kill = chooseKill(scenario, catalogue, random);
  const corrupts = facts.mayCorrupt && random.next() < CORRUPTION_SHARE;
  return {
    scenario,
    kill,
    carriesOn: random.next() < 0.5,
    ...(corrupts ? { corruptionSeed: random.nextInt(2 ** 31) } : {}),
  };
}

function chooseKill(scenario: Scenario, catalogue: KillPointCatalogue, random: SeededRandom): Kill {
  const lot = random.next();
  if (lot < RANDOM_MOMENT_SHARE) return { at: 'moment', afterMs: Math.round(random.next() * LIFE_MS) };
  if (lot < RANDOM_MOMENT_SHARE + RESTART_SHARE) return { at: 'write', occurrence: 1 + random.nextInt(RESTART_WRITES) };
  return catalogue.choose(scenario, random);
}

function chooseScenario(catalogue: KillPointCatalogue, random: SeededRandom): Scenario {
  const neglected = random.next() < 0.5 ? catalogue.neglected(random) : undefined;
  return neglected ?? OTHERS[random.nextInt(OTHERS.length)] ?? 'upgrade';
}

export function toKillPlan(kill: Kill): KillPlan | undefined {
  if (kill.at === 'point') return { point: kill.point, occurrence: kill.occurrence };
  return kill.at === 'write' ? { occurrence: kill.occurrence } : undefined;
}
