import { Type, type Static } from 'typebox';
import { seededRandom } from '@drover/shared/statistics';
import { createModelPool } from '../releases/model-pool.js';
import { CatalogueJson, type KillPointCatalogue } from './catalogue.js';
import { playEpisode, type EpisodeViolation } from './episode.js';
import { noteOutcome } from './kill-search.js';
import { decideLife, type LifeDecision } from './planner.js';

const Count = Type.Integer({ minimum: 0 });

/** What a campaign has come to; also what a later run continues from. */
const Tally = Type.Object({
  seed: Type.Integer(),
  kills: Count,
  /** Lives that ended by themselves, with all that they had to do. */
  survived: Count,
  episodes: Count,
  bricked: Count,
  lies: Count,
  stuck: Count,
});
export type Tally = Static<typeof Tally>;

export const SavedCampaign = Type.Object({ tally: Tally, catalogue: CatalogueJson });

export interface CampaignOptions {
  readonly kills: number;
  /** Devices at a time. */
  readonly workers: number;
  /** It ends early after so many. */
  readonly maxViolations: number;
  /** Where an interrupted campaign was; its seed is the tally's. */
  readonly tally: Tally;
  readonly catalogue: KillPointCatalogue;
  readonly signal: AbortSignal;
  readonly onProgress: () => void;
  readonly onViolation: (violation: EpisodeViolation) => void;
}

const LIVES_PER_EPISODE = 25;

export const newTally = (seed: number): Tally => ({
  seed,
  kills: 0,
  survived: 0,
  episodes: 0,
  bricked: 0,
  lies: 0,
  stuck: 0,
});

export const violationsOf = ({ bricked, lies, stuck }: Tally): number => bricked + lies + stuck;

/** Kills devices until there were `kills` kills, several devices at a time. */
export async function runCampaign(options: CampaignOptions): Promise<void> {
  const { kills, workers, maxViolations, tally, catalogue, signal, onProgress, onViolation } = options;
  const pool = await createModelPool();
  const isOver = (): boolean => signal.aborted || tally.kills >= kills || violationsOf(tally) >= maxViolations;

  const work = async (): Promise<void> => {
    while (!isOver()) {
      const random = seededRandom(tally.seed).fork(`episode ${tally.episodes++}`);
      await playEpisode({
        pool,
        maxLives: LIVES_PER_EPISODE,
        signal,
        decide: (facts) => (isOver() ? undefined : decideLife(catalogue, random, facts)),
        onViolation(violation) {
          tally[violation.kind === 'lie' ? 'lies' : violation.kind] += 1;
          onViolation(violation);
        },
        onLife({ events, ending }, { scenario, kill }) {
          if (ending === 'killed') tally.kills += 1;
          else if (ending === 'ended') tally.survived += 1;
          for (const event of events) {
            if (event.event === 'passed') catalogue.notePassed(event.moments);
            if (event.event === 'killed') catalogue.noteKill(event.moment);
          }
          const died = events.find((event) => event.event === 'killed')?.moment;
          if (died !== undefined || ending === 'ended') noteOutcome(catalogue, scenario, kill, died);
          onProgress();
        },
      });
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
}

/** Repeats one episode as it was decided. */
export async function replayEpisode(
  decisions: readonly LifeDecision[],
  signal: AbortSignal,
  onViolation: (violation: EpisodeViolation) => void,
): Promise<void> {
  const left = [...decisions];
  await playEpisode({
    pool: await createModelPool(),
    maxLives: decisions.length + 1,
    signal,
    // One life more: the last kill is judged by the life after it.
    decide: () => left.shift() ?? { scenario: 'upgrade', kill: { at: 'none' }, sparesCheck: true, carriesOn: true },
    onLife: () => undefined,
    onViolation,
  });
}
