import { Type, type Static } from 'typebox';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import { CatalogueJson, type KillPointCatalogue } from '../campaign/catalogue.js';
import { noteOutcome, randomWrite, searchKill } from '../campaign/kill-search.js';
import type { KillPlan } from '../device/plan.js';
import { createModelPool } from '../releases/model-pool.js';
import type { LedgerViolation } from './ledger.js';
import { openPlant } from './plant.js';

const Count = Type.Integer({ minimum: 0 });

const ControlPlaneTally = Type.Object({
  kills: Count,
  lost: Count,
  repeated: Count,
  /** Lives that did not start, or whose records contradict themselves. */
  broken: Count,
});
export type ControlPlaneTally = Static<typeof ControlPlaneTally>;

export const SavedControlPlaneCampaign = Type.Object({ tally: ControlPlaneTally, catalogue: CatalogueJson });

export interface ControlPlaneOptions {
  readonly kills: number;
  readonly seed: number;
  readonly catalogue: KillPointCatalogue;
  readonly signal: AbortSignal;
  readonly maxViolations: number;
  /** Where an interrupted campaign was; it begins with a new control plane all the same. */
  readonly tally?: ControlPlaneTally;
  readonly onKill: (tally: ControlPlaneTally) => void;
  readonly onViolation: (violation: LedgerViolation) => void;
  /** See ControlPlanePlan. */
  readonly acknowledgesFirst?: boolean;
}

/** From the start to the end of the commands of a life. */
const WRITES = 1_500;
const RANDOM_SHARE = 0.3;
/** What misses are counted under. More of them than of a device: what a control plane is asked differs from life to life. */
const KIND = 'control plane';
const ENOUGH_MISSES = 4;
/** All that was asked is looked at in each life, so that a plant that lived long would be slow to judge. */
const LIVES_PER_PLANT = 200;

/**
 * Kills control planes at their writes while operators, publishers and devices are at work, and looks in the next life for all that was acknowledged,
 * for what is there twice, and for orders that contradict each other.
 */
export async function killControlPlanes(options: ControlPlaneOptions): Promise<ControlPlaneTally> {
  const { kills, catalogue, signal, maxViolations, onKill, acknowledgesFirst = false } = options;
  const random = seededRandom(options.seed).fork(`control plane ${options.tally?.kills ?? 0}`);
  const pool = await createModelPool();
  const tally = { kills: 0, lost: 0, repeated: 0, broken: 0, ...options.tally };
  const onViolation = (violation: LedgerViolation): void => {
    tally[violation.kind] += 1;
    options.onViolation(violation);
  };
  const isOver = (): boolean => signal.aborted || tally.lost + tally.repeated + tally.broken >= maxViolations;
  while (tally.kills < kills && !isOver()) {
    const plant = await openPlant({ pool, random, signal, onViolation, acknowledgesFirst });
    try {
      for (let lives = 0; lives < LIVES_PER_PLANT && tally.kills < kills && !isOver(); lives += 1) {
        const kill = chooseKill(catalogue, random);
        const { killed, passed, failure } = await plant.live(kill);
        for (const moments of passed) catalogue.notePassed(moments);
        if (killed !== undefined || !failure) noteOutcome(catalogue, KIND, kill, killed);
        if (killed !== undefined) {
          tally.kills += 1;
          catalogue.noteKill(killed);
        } else if (failure && !signal.aborted) {
          const { error, lastLines } = failure;
          onViolation({ kind: 'broken', what: `a life failed without being killed: ${error.message}\n${lastLines}` });
          break;
        }
        onKill(tally);
      }
      if (isOver()) break;
      await plant.inspect().catch((error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        onViolation({ kind: 'broken', what: `the last life failed: ${why}` });
      });
    } finally {
      await plant.close();
    }
  }
  return tally;
}

function chooseKill(catalogue: KillPointCatalogue, random: SeededRandom): KillPlan {
  const place =
    random.next() < RANDOM_SHARE
      ? randomWrite(WRITES, random)
      : searchKill(catalogue, random, {
          kind: KIND,
          enoughMisses: ENOUGH_MISSES,
          isCandidate: () => true,
          writes: WRITES,
        });
  return { ...place, fromStep: 0 };
}
