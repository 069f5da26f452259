import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import type { LifePlan } from '../device/plan.js';
import { runLife, type LifeRecord } from '../device/run-life.js';
import { startReleaseServer, TRIAL_CREDENTIAL, type ReleaseServer } from '../releases/release-server.js';
import { HARDWARE_CLASS, TRIAL_DEVICE, TRIAL_MODEL, type Publisher } from '../releases/releases.js';
import { corruptSomething } from './corruption.js';
import { toKillPlan, type LifeDecision } from './planner.js';
import { SCENARIOS, type PlannedStep } from './scenarios.js';
import { TrialDevice, type Violation } from './trial-device.js';

export interface EpisodeViolation extends Violation {
  /** What happened to the device before, one line per life. */
  readonly trace: readonly string[];
  /** Repeats the episode. */
  readonly decisions: readonly LifeDecision[];
}

export interface EpisodeOptions {
  readonly publisher: Publisher;
  readonly maxLives: number;
  /** What the next life shall be; undefined ends the episode. */
  readonly decide: (facts: { isFirstLife: boolean; mayCorrupt: boolean }) => LifeDecision | undefined;
  readonly onLife: (life: LifeRecord) => void;
  readonly onViolation: (violation: EpisodeViolation) => void;
  readonly signal: AbortSignal;
}

/** One device from its first release on, killed in each of its lives; the next life shows whether it bore that. */
export async function playEpisode(options: EpisodeOptions): Promise<void> {
  const { publisher, decide, onLife, onViolation, signal } = options;
  const server = await startReleaseServer(publisher);
  const root = await mkdtemp(join(tmpdir(), 'drover-chaos-'));
  const device = new TrialDevice({ dataDir: join(root, 'device'), publisher });
  // Enrolment, which a device has behind it, made its folder.
  await mkdir(device.dataDir);
  const decisions: LifeDecision[] = [];
  const trace: string[] = [];
  try {
    const isStopped = (): boolean => signal.aborted;
    for (let lives = 0; lives < options.maxLives && !isStopped(); lives += 1) {
      const isFirstLife = !device.hasCommitted;
      const decision = decide({ isFirstLife, mayCorrupt: !isFirstLife && !device.isDamaged });
      if (!decision) break;
      decisions.push(decision);
      // The next deployment after a kill must get through, before anything else happens.
      const scenery = { device, publisher, server };
      const next = isFirstLife ? [] : SCENARIOS.upgrade(scenery);
      const owed = decision.carriesOn ? device.owes() : undefined;
      const owing: PlannedStep[] =
        owed === undefined ? [] : [{ step: { kind: 'carry-on', role: 'carried on', ...owed } }];
      const planned = [...owing, ...next, ...SCENARIOS[decision.scenario]({ ...scenery, running: next[0]?.release })];
      const life = await runLife(lifePlan(device, planned, decision, { publisher, server }), {
        ...(decision.kill.at === 'moment' ? { killAfterMs: decision.kill.afterMs } : {}),
      });
      // Whoever stops the campaign may have stopped the device too.
      if (isStopped()) break;
      onLife(life);
      trace.push(traceLine(lives, decision, life));
      const violations = device.judge(life, planned);
      for (const violation of violations) onViolation({ ...violation, trace: [...trace], decisions: [...decisions] });
      if (violations.length > 0) break;
      if (decision.corruptionSeed !== undefined && life.ending === 'killed') {
        const damage = corruptSomething(device.dataDir, corruptionRandom(decision.corruptionSeed));
        if (damage) device.wasDamaged();
        if (damage) trace.push(`         then ${damage.file} was ${damage.way}`);
      }
    }
  } finally {
    await server.close();
    await rm(root, { recursive: true, force: true });
  }
}

const corruptionRandom = (seed: number): SeededRandom => seededRandom(seed).fork('corruption');

function lifePlan(
  { dataDir, unhealthy }: TrialDevice,
  planned: readonly PlannedStep[],
  { kill }: LifeDecision,
  { publisher, server }: { publisher: Publisher; server: ReleaseServer },
): LifePlan {
  const { pinnedRoot, director, deviceKey, probe } = publisher;
  const killPlan = toKillPlan(kill);
  return {
    device: {
      dataDir,
      serverUrl: server.url,
      credential: TRIAL_CREDENTIAL,
      deviceId: TRIAL_DEVICE,
      model: TRIAL_MODEL,
      hardwareClass: HARDWARE_CLASS,
      pinnedRoot,
      director,
      deviceKey,
      probe,
      unhealthy,
    },
    steps: planned.map(({ step }) => step),
    ...(killPlan ? { kill: killPlan } : {}),
  };
}

function traceLine(index: number, { scenario, kill }: LifeDecision, { events, ending }: LifeRecord): string {
  const died = events.find((event) => event.event === 'killed');
  const incidents = events.flatMap((event) =>
    event.event === 'incident' || event.event === 'refused' ? [`${event.event}: ${event.code} ${event.what}`] : [],
  );
  const how = died?.event === 'killed' ? `killed ${died.point}` : `${ending}; planned was ${JSON.stringify(kill)}`;
  return [`life ${index}: ${scenario}; ${how}`, ...incidents.map((incident) => `         ${incident}`)].join('\n');
}
