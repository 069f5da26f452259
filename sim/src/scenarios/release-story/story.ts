import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CodedError } from '@drover/shared/coded-error';
import { ModelName } from '@drover/shared/ids';
import { openPublisher, startControlPlane, type AgentProcess, type ControlPlaneProcess } from '../../fleet/index.js';
import { createWorld, openGasWorld, type World } from '../../world/index.js';
import { newFacts, type Facts, type Sabotage, type Scene } from './scene.js';
import { badRelease } from './steps/bad-release.js';
import { crash } from './steps/crash.js';
import { drift } from './steps/drift.js';
import { enrol } from './steps/enrol.js';
import { fineTune } from './steps/fine-tune.js';
import { goodRelease } from './steps/good-release.js';
import { publish } from './steps/publish.js';
import { refusals } from './steps/refusals.js';
import { rollOut } from './steps/roll-out.js';
import { serve } from './steps/serve.js';
import { train } from './steps/train.js';

type Act = (scene: Scene, facts: Facts) => Promise<string>;

/** The story of a release, in order. A step returns its figures, or throws what did not hold. */
export const STEPS: readonly { readonly number: number; readonly name: string; readonly act: Act }[] = [
  { number: 1, name: 'train', act: train },
  { number: 2, name: 'publish', act: publish },
  { number: 3, name: 'enrol', act: enrol },
  { number: 4, name: 'roll out', act: rollOut },
  { number: 5, name: 'serve', act: serve },
  { number: 6, name: 'drift', act: drift },
  { number: 7, name: 'fine-tune', act: fineTune },
  { number: 8, name: 'bad release', act: badRelease },
  { number: 9, name: 'refusals', act: refusals },
  { number: 10, name: 'crash', act: crash },
  { number: 11, name: 'good release', act: goodRelease },
];

export interface StoryOptions {
  readonly seed: number;
  /** Simulated devices, beside the one agent process. */
  readonly devices: number;
  /** Folder of the real gas-sensor data; the generated world when absent. */
  readonly dataDir?: string | undefined;
  readonly sabotage?: Sabotage | undefined;
  /** Numbers of the steps to play; all when absent. */
  readonly only?: readonly number[] | undefined;
  /** 0 lets the system choose. */
  readonly httpPort: number;
  readonly mqttPort: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly seconds: number;
}

export interface StoryResult {
  readonly ok: boolean;
  readonly steps: readonly StepResult[];
}

export interface PlayedStory {
  readonly result: StoryResult;
  readonly controlPlane: ControlPlaneProcess;
  /** Where step 3 was played. */
  readonly agent: AgentProcess | undefined;
  /** Ends the applications' requests; everything else runs on. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

/** Plays the story; the first step that does not hold ends it. What was started runs on until `close`. */
export async function playStory(options: StoryOptions): Promise<PlayedStory> {
  const facts = newFacts();
  const workDir = await mkdtemp(join(tmpdir(), 'drover-story-'));
  facts.closers.push(() => rm(workDir, { recursive: true, force: true }));
  const close = async (): Promise<void> => {
    for (const closer of facts.closers.splice(0).reverse()) await closer();
  };
  try {
    const scene = await openScene(options, facts, workDir);
    const steps: StepResult[] = [];
    for (const step of STEPS) {
      if (options.only && !options.only.includes(step.number)) continue;
      const played = await playStep(step, scene, facts);
      steps.push(played);
      if (!played.ok) break;
    }
    return {
      result: { ok: steps.every(({ ok }) => ok), steps },
      controlPlane: scene.controlPlane,
      agent: facts.agent,
      async quiet() {
        for (const application of facts.applications.values()) await application.stop();
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openScene(options: StoryOptions, facts: Facts, workDir: string): Promise<Scene> {
  const { seed, devices, signal, sabotage, httpPort, mqttPort, say } = options;
  const controlPlane = await startControlPlane({ dataDir: join(workDir, 'control-plane'), httpPort, mqttPort });
  facts.closers.push(() => controlPlane.stop());
  const model = ModelName('gas-classifier');
  return {
    seed,
    devices,
    signal,
    workDir,
    world: await openWorld(options),
    trainingStreams: options.dataDir === undefined ? 6 : 1,
    model,
    controlPlane,
    publisher: await openPublisher(controlPlane.operator, model),
    sabotage,
    say: (line) => say(`     ${line}`),
  };
}

/** After the change: batch 3, then 4, then a steady mixture of 3 to 5, on which the first classifier does worst in a lasting way. */
const GAS_PHASES = [[3], [4], [3, 4, 5]];

const openWorld = async ({ seed, dataDir }: StoryOptions): Promise<World> =>
  dataDir === undefined ? createWorld({ seed }) : openGasWorld({ directory: dataDir, seed, phases: GAS_PHASES });

async function playStep(
  { number, name, act }: (typeof STEPS)[number],
  scene: Scene,
  facts: Facts,
): Promise<StepResult> {
  const startedMs = performance.now();
  const seconds = () => Math.round((performance.now() - startedMs) / 100) / 10;
  scene.say('');
  scene.say(`${number}. ${name}`);
  try {
    const detail = await act(scene, facts);
    scene.say(`ok: ${detail}`);
    return { name, ok: true, detail, seconds: seconds() };
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    const remedy = error instanceof CodedError ? ` ${error.remedy}` : '';
    const detail = `${words}${remedy}`;
    scene.say(`FAILED: ${detail}`);
    return { name, ok: false, detail, seconds: seconds() };
  }
}
