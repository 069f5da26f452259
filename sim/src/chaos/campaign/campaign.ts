import { seededRandom } from '@drover/shared/statistics';
import { createPublisher } from '../releases/releases.js';
import { playEpisode, type EpisodeViolation } from './episode.js';
import { decideLife, KillPointCatalogue, type LifeDecision } from './planner.js';

/** What a campaign has come to; also what a later run continues from. */
export interface Tally {
  readonly seed: number;
  kills: number;
  /** Lives that ended before the chosen point was passed. */
  missed: number;
  episodes: number;
  bricked: number;
  lies: number;
  stuck: number;
  points: Record<string, { mostPassed: number; kills: number }>;
}

export interface CampaignOptions {
  readonly kills: number;
  readonly workers: number;
  /** It ends early after so many. */
  readonly maxViolations: number;
  /** Where an interrupted campaign was; its seed is the tally's. */
  readonly tally: Tally;
  readonly signal: AbortSignal;
  readonly onProgress: (tally: Tally, killPoints: number) => void;
  readonly onViolation: (violation: EpisodeViolation) => void;
}

const LIVES_PER_EPISODE = 25;

export const newTally = (seed: number): Tally => ({
  seed,
  kills: 0,
  missed: 0,
  episodes: 0,
  bricked: 0,
  lies: 0,
  stuck: 0,
  points: {},
});

export const violationsOf = ({ bricked, lies, stuck }: Tally): number => bricked + lies + stuck;
export const killPointsOf = ({ points }: Tally): number =>
  Object.values(points).filter(({ kills }) => kills > 0).length;

/** Kills devices until there were `kills` kills, several devices at a time. */
export async function runCampaign(options: CampaignOptions): Promise<void> {
  const { kills, workers, maxViolations, tally, signal, onProgress, onViolation } = options;
  const catalogue = new KillPointCatalogue(tally.points);
  const publisher = await createPublisher();
  const isOver = (): boolean => signal.aborted || tally.kills >= kills || violationsOf(tally) >= maxViolations;

  const work = async (): Promise<void> => {
    while (!isOver()) {
      const random = seededRandom(tally.seed).fork(`episode ${tally.episodes++}`);
      await playEpisode({
        publisher,
        maxLives: LIVES_PER_EPISODE,
        signal,
        decide: (facts) => (isOver() ? undefined : decideLife(catalogue, random, facts)),
        onViolation(violation) {
          tally[violation.kind === 'lie' ? 'lies' : violation.kind] += 1;
          onViolation(violation);
        },
        onLife({ events, ending }) {
          if (ending === 'killed') tally.kills += 1;
          else if (ending === 'ended') tally.missed += 1;
          for (const event of events) {
            if (event.event === 'points') catalogue.notePassed(event.passed);
            if (event.event === 'killed') catalogue.noteKill(event.point);
          }
          tally.points = catalogue.toJSON();
          onProgress(tally, catalogue.reached);
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
  const publisher = await createPublisher();
  const left = [...decisions];
  await playEpisode({
    publisher,
    maxLives: decisions.length + 1,
    signal,
    // One life more: the last kill is judged by the life after it.
    decide: () => left.shift() ?? { scenario: 'upgrade', kill: { at: 'none' }, carriesOn: true },
    onLife: () => undefined,
    onViolation,
  });
}
