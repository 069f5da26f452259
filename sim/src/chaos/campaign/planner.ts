import { Type, type Static } from 'typebox';
import type { SeededRandom } from '@drover/shared/statistics';
import { roleOf } from '../device/plan.js';
import type { KillPointCatalogue } from './catalogue.js';
import { randomWrite, searchKill, SECOND_LOOK_SHARE } from './kill-search.js';
import { SCENARIO_NAMES, type Scenario } from './scenarios.js';

const Occurrence = Type.Integer({ minimum: 1 });

/** Where the device is to be killed in a life (KillPlace); at a time, when it is killed from outside. */
const Kill = Type.Union([
  Type.Object({
    at: Type.Literal('moment'),
    moment: Type.String(),
    occurrence: Occurrence,
    /** Of the steps after those in which it could have come: the write at which the device is killed instead. */
    otherwise: Occurrence,
  }),
  Type.Object({ at: Type.Literal('write'), occurrence: Occurrence }),
  Type.Object({
    at: Type.Literal('unreached'),
    reached: Type.Unsafe<readonly string[]>(Type.Array(Type.String())),
    skip: Type.Integer({ minimum: 0 }),
    phase: Type.Enum(['before', 'after']),
    /** At this write it is killed wherever it is. */
    otherwise: Occurrence,
  }),
  Type.Object({ at: Type.Literal('time'), afterMs: Type.Number({ minimum: 0 }) }),
  Type.Object({ at: Type.Literal('none') }),
]);
export type Kill = Static<typeof Kill>;

/** Where and how one life is to end; written down, so that an episode can be repeated. */
export const LifeDecision = Type.Object({
  scenario: Type.Enum(SCENARIO_NAMES),
  kill: Kill,
  /** The restart and the order after it, which show how the kill before was borne, are not disturbed by this one. */
  sparesCheck: Type.Boolean(),
  /** An order that was acknowledged before the kill is carried out before the next one arrives, which would end it. */
  carriesOn: Type.Boolean(),
  /** Seed of the damage that is done to one file after the kill. */
  corruptionSeed: Type.Optional(Type.Integer()),
});
export type LifeDecision = Static<typeof LifeDecision>;

/** Kills that also come during the restart and the order after it: then a later life shows how the kill before was borne. */
const DISTURBED_SHARE = 0.25;
const RANDOM_TIME_SHARE = 0.1;
const RANDOM_WRITE_SHARE = 0.15;
const CORRUPTION_SHARE = 0.15;
/** A life lasts about that long, and has about so many writes; a step has at least so many. */
const LIFE_MS = 900;
const LIFE_WRITES = 300;
const STEP_WRITES = 100;
const ENOUGH_MISSES = 2;

const OTHERS = SCENARIO_NAMES.filter((name) => name !== 'first');

export interface DecisionFacts {
  readonly isFirstLife: boolean;
  readonly mayCorrupt: boolean;
}

/** Chooses what happens in the next life of a device: kill points that nobody was killed at come first, then the least tried moments. */
export function decideLife(catalogue: KillPointCatalogue, random: SeededRandom, facts: DecisionFacts): LifeDecision {
  const scenario = facts.isFirstLife ? 'first' : chooseScenario(catalogue, random);
  const sparesCheck = !facts.isFirstLife && random.next() >= DISTURBED_SHARE;
  const carriesOn = random.next() < 0.5;
  const kill = chooseKill({ scenario, sparesCheck, carriesOn }, catalogue, random);
  const corrupts = facts.mayCorrupt && random.next() < CORRUPTION_SHARE;
  return {
    scenario,
    kill,
    sparesCheck,
    carriesOn,
    ...(corrupts ? { corruptionSeed: random.nextInt(2 ** 31) } : {}),
  };
}

function chooseScenario(catalogue: KillPointCatalogue, random: SeededRandom): Scenario {
  const promising = OTHERS.filter((name) => catalogue.missesOf(name) < ENOUGH_MISSES);
  const among = promising.length > 0 && random.next() > SECOND_LOOK_SHARE ? promising : OTHERS;
  return among[random.nextInt(among.length)] ?? 'upgrade';
}

function chooseKill(
  life: Pick<LifeDecision, 'scenario' | 'sparesCheck' | 'carriesOn'>,
  catalogue: KillPointCatalogue,
  random: SeededRandom,
): Kill {
  const lot = random.next();
  if (lot < RANDOM_TIME_SHARE) return { at: 'time', afterMs: Math.round(random.next() * LIFE_MS) };
  if (lot < RANDOM_TIME_SHARE + RANDOM_WRITE_SHARE) return randomWrite(LIFE_WRITES, random);
  const roles = rolesWithin(life);
  const isCandidate = (moment: string): boolean => roles.includes(roleOf(moment));
  const place = searchKill(catalogue, random, {
    kind: life.scenario,
    enoughMisses: ENOUGH_MISSES,
    isCandidate,
    writes: LIFE_WRITES,
  });
  if (place.at === 'write') return place;
  return { ...place, otherwise: 1 + random.nextInt(place.at === 'moment' ? STEP_WRITES : LIFE_WRITES) };
}

/** Whose moments a life comes to while it may be killed; of others it would only find out at its end that they did not come. */
function rolesWithin({
  scenario,
  sparesCheck,
  carriesOn,
}: Pick<LifeDecision, 'scenario' | 'sparesCheck' | 'carriesOn'>): readonly string[] {
  if (sparesCheck) return [scenario];
  return ['restart', ...(carriesOn ? ['carried on'] : []), ...(scenario === 'first' ? [] : ['upgrade']), scenario];
}
