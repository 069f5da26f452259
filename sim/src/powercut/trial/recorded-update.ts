import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { lifePlan } from '../../chaos/campaign/life-plan.js';
import { SCENARIOS, type PlannedStep, type Scenario } from '../../chaos/campaign/scenarios.js';
import { TrialDevice } from '../../chaos/campaign/trial-device.js';
import { TrialParameters } from '../../chaos/campaign/trial-parameters.js';
import type { Violation } from '../../chaos/campaign/violation.js';
import { installAgent } from '../../chaos/device/launched-device.js';
import type { LifeEvent, LifePlan } from '../../chaos/device/plan.js';
import { runLife, type LifeRecord } from '../../chaos/device/run-life.js';
import type { ModelPool } from '../../chaos/releases/model-pool.js';
import { startReleaseServer } from '../../chaos/releases/release-server.js';
import { createPublisher, type PublishedRelease } from '../../chaos/releases/releases.js';
import type { Recording } from '../disk/operation.js';
import { recordingOf, viewBefore } from '../trace/recording.js';
import { parseTrace, straceCommand } from '../trace/system-call.js';

/** File descriptor on which a device process tells its events (chaos/device/device-main.ts). */
const EVENTS = 3;

/** What is cut: `first` on an empty device, the others on one that has two releases. */
export type RecordedScenario = Scenario;

/** An update that was carried out once under the eyes of strace; what may be left of it after a cut can be judged as often as needed. */
export interface RecordedUpdate {
  readonly scenario: RecordedScenario;
  readonly recording: Recording;
  /** What a device on this folder has to do after the cut, and the judge of how it did that. */
  trialOn(dataDir: string, cut: number): { readonly plan: LifePlan; readonly judge: (life: LifeRecord) => Violation[] };
  close(): Promise<void>;
}

/** @param folder empty; holds the device and the trace */
export async function recordUpdate(
  scenario: RecordedScenario,
  pool: ModelPool,
  folder: string,
): Promise<RecordedUpdate> {
  const publisher = createPublisher(pool);
  const server = await startReleaseServer(publisher);
  const dataDir = join(folder, 'device');
  await mkdir(dataDir);
  installAgent(dataDir);
  const device = new TrialDevice({ dataDir, publisher });
  const parameters = new TrialParameters();
  const scenery = { device, parameters, publisher, server };
  const isFirst = scenario === 'first';
  const before: PlannedStep[] = isFirst ? [] : [...SCENARIOS.first(scenery), ...SCENARIOS.upgrade(scenery)];
  const setup = isFirst ? undefined : await runLife(lifePlan(device, before, { publisher, server }));
  const view = viewBefore(dataDir);
  const planned = SCENARIOS[scenario]({ ...scenery, running: before.at(-1)?.release as PublishedRelease | undefined });
  const traceFile = join(folder, 'trace');
  const traced = await runLife(lifePlan(device, planned, { publisher, server }), { wrapper: straceCommand(traceFile) });
  if (traced.ending !== 'ended') throw new Error(`The recorded life ${traced.ending}. ${traced.complaints}`);
  const recording = recordingOf(parseTrace(await readFile(traceFile, 'utf8')), dataDir, view, EVENTS);
  const next = SCENARIOS.upgrade(scenery);

  /** All that the outside knew of the device when the power went. */
  function knownAt(place: string, cut: number): { device: TrialDevice; parameters: TrialParameters } {
    const known = new TrialDevice({ dataDir: place, publisher });
    known.knowsAll(device);
    const knownParameters = new TrialParameters();
    knownParameters.knowsAll(parameters);
    if (setup) known.judge(setup, before);
    if (setup) knownParameters.judge(setup);
    const told = recording.tellings.filter(({ at }) => at <= cut).map(({ line }) => JSON.parse(line) as LifeEvent);
    const life: LifeRecord = { events: told, ending: 'killed', complaints: '' };
    known.judge(life, planned);
    knownParameters.judge(life);
    return { device: known, parameters: knownParameters };
  }
  return {
    scenario,
    recording,
    trialOn(place, cut) {
      installAgent(place);
      const known = knownAt(place, cut);
      const steps = [...known.device.due(), ...known.device.owes(), ...next];
      return {
        plan: lifePlan(known.device, steps, { publisher, server }),
        judge: (life) => [...known.device.judge(life, steps), ...known.parameters.judge(life)],
      };
    },
    close: () => server.close(),
  };
}
