import { toCodedErrorJson } from '@drover/shared/coded-error';
import { agentVersion, type AgentConfig } from '../config/index.js';
import { ALIVE_INTERVAL_MS } from '../launcher/contract.js';
import { isSlotName } from '../launcher/index.js';
import { createHostProbe, diskFreeBytes, systemClock } from '../host/index.js';
import { loadDeviceKey, loadIdentity } from '../identity/index.js';
import { createStoreRecorder } from '../monitor/store-recorder.js';
import type { TelemetryStore } from '../monitor/telemetry-store.js';
import { openTelemetryThread } from '../monitor/telemetry-thread.js';
import type { LabelDesk } from '../serve/index.js';
import type { Agent } from '../supervisor/agent.js';
import { createClosers } from '../supervisor/closers.js';
import { jsonLog } from '../supervisor/log.js';
import { openStatusSocket } from '../supervisor/status-socket.js';
import { serviceNotifier } from '../supervisor/systemd.js';
import { prepareDataDir } from './data-dir.js';
import { openServing, type ServingMode } from './open-serving.js';
import { AgentSlots } from '../update/agent/agent-slots.js';
import { LaunchedAgent } from '../update/agent/launched-agent.js';
import type { Terminal } from './terminal.js';

export interface RunOptions {
  readonly mode: ServingMode;
  readonly announceReady: boolean;
  /** Those of this command line that say where configuration and data are. */
  readonly configArguments: readonly string[];
}

/** The supervisor of a real device: inference (or observation), probe and trainer are processes, telemetry.db is on a thread. */
export async function run(config: AgentConfig, terminal: Terminal, options: RunOptions): Promise<void> {
  const log = jsonLog(config.log.level, terminal.stderr);
  const notifier = serviceNotifier({
    environment: terminal.environment,
    onFailure: (message) => log.warn('systemd', { message }),
  });
  await prepareDataDir(config.dataDir);
  const identity = await loadIdentity(config.dataDir);
  const deviceKey = await loadDeviceKey(config.dataDir);
  const replaced = signalled();
  const stopped = Promise.race([terminal.untilStopped(), replaced.signal]);
  const launched = launchedAgent(terminal, options.configArguments, replaced.give);
  const closers = createClosers();
  const { launcher } = terminal;
  if (launcher) {
    launcher.say('alive');
    const beat = setInterval(() => launcher.say('alive'), ALIVE_INTERVAL_MS);
    closers.add(() => clearInterval(beat));
  }
  let agent: Agent | undefined;
  const early: unknown[] = [];
  const onIncident = (error: unknown): void => {
    if (agent) {
      agent.incident(error);
      return;
    }
    early.push(error);
    log.warn('incident', toCodedErrorJson(error));
  };
  const start = async (): Promise<void> => {
    const socket = await openStatusSocket(config.dataDir, () => agent?.status() ?? { starting: true });
    closers.add(() => socket.close());
    const telemetryOpening = openTelemetryThread({
      file: `${config.dataDir}/telemetry.db`,
      maxSamples: config.telemetry.maxSamples,
      onIncident,
    });
    const recorder = createStoreRecorder({ store: storeOnceOpen(telemetryOpening), onIncident });
    const servingOpening = openServing(options.mode, {
      config,
      hardwareClass: identity.hardwareClass,
      searchPath: terminal.environment['PATH'],
      recorder,
      labelDesk: deskOnceOpen(telemetryOpening),
      onIncident,
    });
    // The rest of the supervisor (MQTT, updates) is loaded while the telemetry thread and the process that applications talk to start.
    const opening = [telemetryOpening, servingOpening, import('../supervisor/agent.js')] as const;
    const [telemetryOpened, servingOpened] = await Promise.allSettled(opening);
    // What did open is closed even where something else did not; serving closes first, because its last records go to telemetry.
    if (telemetryOpened.status === 'fulfilled') closers.add(() => telemetryOpened.value.close());
    closers.add(() => recorder.settled());
    if (servingOpened.status === 'fulfilled') closers.add(() => servingOpened.value.close());
    const [telemetry, serving, { startAgent }] = await Promise.all(opening);
    agent = await startAgent({
      config,
      agentVersion: agentVersion(),
      identity,
      deviceKey,
      serving: serving.serving,
      parameters: serving.parameters,
      trials: serving.trials,
      telemetry,
      host: createHostProbe({ diskPath: config.dataDir }),
      clock: systemClock,
      log,
      agentReleases: launched && { runner: launched, platform: platformHere() },
    });
    const started = agent;
    closers.add(() => started.close());
    for (const error of early.splice(0)) agent.incident(error);
    log.info('ready', { ...serving.where, controlPlane: identity.controlPlaneUrl });
    notifier.ready(serving.summary);
    launcher?.say('up');
    launched?.settle();
    if (options.announceReady) terminal.stdout(`${JSON.stringify({ event: 'ready', ...serving.where })}\n`);
    if (notifier.watchdogIntervalMs !== undefined) {
      const timer = setInterval(() => notifier.alive(), notifier.watchdogIntervalMs);
      closers.add(() => clearInterval(timer));
    }
  };
  try {
    // Whoever stops it while it starts (a model that loads for minutes) does not have to wait: what it holds survives being cut anywhere.
    await Promise.race([start(), stopped]);
    await stopped;
    notifier.stopping();
    log.info('stopping');
  } finally {
    await closers.close();
  }
}

function launchedAgent(
  { launcher, environment }: Terminal,
  configArguments: readonly string[],
  restart: () => void,
): LaunchedAgent | undefined {
  if (launcher === undefined || !isSlotName(launcher.slot)) return undefined;
  const { slot, stateDir } = launcher;
  return new LaunchedAgent({
    slots: new AgentSlots(stateDir),
    slot,
    nodeVersion: process.versions.node,
    configArguments,
    environment,
    diskFreeBytes,
    nowMs: () => systemClock.now(),
    restart,
  });
}

const platformHere = () => ({ os: process.platform, arch: process.arch, nodeAbi: process.versions.modules });

function signalled(): { readonly signal: Promise<void>; readonly give: () => void } {
  let give = (): void => undefined;
  const signal = new Promise<void>((resolve) => (give = resolve));
  return { signal, give };
}

const deskOnceOpen = (opening: Promise<TelemetryStore>): LabelDesk => ({
  labelRequests: async (model) => (await opening).labelRequests(model),
  answerLabel: async (answer) => (await opening).answerLabel(answer),
});

/** The recorder is made before its store is open; what it is handed until then waits. */
const storeOnceOpen = (
  opening: Promise<TelemetryStore>,
): Pick<TelemetryStore, 'record' | 'compare' | 'label' | 'inputs'> => ({
  record: async (records) => (await opening).record(records),
  compare: async (comparisons) => (await opening).compare(comparisons),
  label: async (labels) => (await opening).label(labels),
  inputs: async (counts) => (await opening).inputs(counts),
});
