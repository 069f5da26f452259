import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '@drover/shared/statistics';
import { installAgent } from '../device/launched-device.js';
import { runLife, type LifeRecord } from '../device/run-life.js';
import type { ModelPool } from '../releases/model-pool.js';
import { startReleaseServer } from '../releases/release-server.js';
import { createPublisher, type PublishedRelease } from '../releases/releases.js';
import { corruptSomething } from './corruption.js';
import { killPlan, lifePlan } from './life-plan.js';
import type { LifeDecision } from './planner.js';
import { SCENARIOS } from './scenarios.js';
import { TrialDevice } from './trial-device.js';
import { TrialParameters } from './trial-parameters.js';
import type { Violation } from './violation.js';

export interface EpisodeViolation extends Violation {
  /** What happened to the device before, one line per life. */
  readonly trace: readonly string[];
  /** Repeats the episode. */
  readonly decisions: readonly LifeDecision[];
}

export interface EpisodeOptions {
  readonly pool: ModelPool;
  readonly maxLives: number;
  /** What the next life shall be; undefined ends the episode. */
  readonly decide: (facts: { isFirstLife: boolean; mayCorrupt: boolean }) => LifeDecision | undefined;
  readonly onLife: (life: LifeRecord, decision: LifeDecision) => void;
  readonly onViolation: (violation: EpisodeViolation) => void;
  readonly signal: AbortSignal;
}

/** One device from its first start on, killed in each of its lives; the next life shows whether it bore that. */
export async function playEpisode(options: EpisodeOptions): Promise<void> {
  const { decide, onLife, onViolation, signal } = options;
  const publisher = createPublisher(options.pool);
  const server = await startReleaseServer(publisher);
  const root = await mkdtemp(join(tmpdir(), 'drover-chaos-'));
  const device = new TrialDevice({ dataDir: join(root, 'device'), publisher });
  const parameters = new TrialParameters();
  await mkdir(device.dataDir);
  installAgent(device.dataDir);
  const decisions: LifeDecision[] = [];
  const trace: string[] = [];
  try {
    const isStopped = (): boolean => signal.aborted;
    for (let lives = 0; lives < options.maxLives && !isStopped(); lives += 1) {
      const isFirstLife = !device.hasCommitted;
      const decision = decide({ isFirstLife, mayCorrupt: !isFirstLife && !device.isDamaged });
      if (!decision) break;
      decisions.push(decision);
      const { kill, corruptionSeed } = decision;
      const scenery = { device, parameters, publisher, server };
      const due = [...device.due(), ...(decision.carriesOn ? device.owes() : [])];
      // The next deployment after a kill must get through, before anything else happens.
      const next = isFirstLife ? [] : SCENARIOS.upgrade(scenery);
      const running = next[0]?.release as PublishedRelease | undefined;
      const planned = [...due, ...next, ...SCENARIOS[decision.scenario]({ ...scenery, running })];
      const fromStep = decision.sparesCheck ? due.length + next.length + 1 : 0;
      const own = killPlan(kill, planned, fromStep);
      const life = await runLife(lifePlan(device, planned, { publisher, server, kill: own }), {
        ...(kill.at === 'time' ? { killAfterMs: kill.afterMs } : {}),
      });
      // Whoever stops the campaign may have stopped the device too.
      if (isStopped()) break;
      onLife(life, decision);
      trace.push(traceLine(lives, decision, life));
      const violations = [...device.judge(life, planned), ...parameters.judge(life)];
      for (const violation of violations) onViolation({ ...violation, trace: [...trace], decisions: [...decisions] });
      if (violations.length > 0) break;
      if (corruptionSeed !== undefined && life.ending === 'killed') {
        const damage = corruptSomething(device.dataDir, seededRandom(corruptionSeed).fork('corruption'));
        if (damage) {
          device.wasDamaged();
          parameters.forget();
          trace.push(`         then ${damage.file} was ${damage.way}`);
        }
      }
    }
  } finally {
    await server.close();
    await rm(root, { recursive: true, force: true });
  }
}

function traceLine(index: number, { scenario, kill }: LifeDecision, { events, ending }: LifeRecord): string {
  const died = events.find((event) => event.event === 'killed');
  const incidents = events.flatMap((event) =>
    event.event === 'incident' || event.event === 'refused' ? [`${event.event}: ${event.code} ${event.what}`] : [],
  );
  const how = died?.event === 'killed' ? `killed ${died.moment}` : `${ending}; planned was ${kill.at}`;
  return [`life ${index}: ${scenario}; ${how}`, ...incidents.map((incident) => `         ${incident}`)].join('\n');
}
