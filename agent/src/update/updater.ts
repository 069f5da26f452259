import { Version, type DeviceId, type Digest, type ModelName } from '@drover/shared/ids';
import {
  type IncidentBody,
  type RefusalBody,
  type StateBody,
  type TransitionBody,
  type UpdateState,
} from '@drover/shared/protocol';
import { orderKindOf, type OrderKind, type Platform } from '@drover/shared/manifest';
import type { KeySet } from '@drover/shared/trust';
import type { MetadataFetcher, RepositoryStatus } from '@drover/shared/trust/tuf';
import {
  clockState,
  diskFreeBytes as systemDiskFreeBytes,
  HostError,
  timeToJudgeBy,
  type Clock,
} from '../host/index.js';
import { unlaunchedAgent } from './agent/unlaunched-agent.js';
import { collectGarbage } from './collect.js';
import { Bandwidth, DEFAULT_LIMITS, type BandwidthLimits } from './delivery/bandwidth.js';
import type { RetryBounds } from './download.js';
import { stopping } from './errors.js';
import type { ReleaseSource } from './fetch.js';
import { openJournal, type Journal } from './journal.js';
import { createWriteGate, type KillPoint } from './kill-points.js';
import { kindsTaken, type Runners } from './kinds/index.js';
import type { UpdateEnvironment } from './environment.js';
import { ModelUpdate } from './model-update.js';
import { followedBy } from './parameters/followed-serving.js';
import { ParametersInForce } from './parameters/in-force.js';
import {
  isModel,
  type AgentRunner,
  type InstalledModel,
  type ParameterServing,
  type Serving,
  type TrialServing,
} from './ports.js';
import { createReceiver, type Receipt, type ReceiveOptions } from './receive.js';
import { authorityOf, type Enrolled } from './recovery.js';
import { toReportableError } from './reportable.js';
import { ReleaseStore } from './store.js';
import { openTrustedRepository } from './trusted-repository.js';

export interface UpdaterOptions {
  /** Absolute. Holds journal.db, its mirror, and the folders of the store. */
  readonly dataDir: string;
  readonly deviceId: DeviceId;
  readonly hardwareClass: string;
  /** The root.json that this device was given when it was installed: it says whose releases it runs (TUF 1.0, section 5.2). */
  readonly pinnedRoot: Uint8Array;
  /** Who may sign orders, and under which epoch, by the word of enrolment. */
  readonly enrolled: Enrolled;
  readonly source: ReleaseSource;
  readonly serving: Serving;
  /** The label that this device was enrolled with, if any: it gets the parameters of that site. */
  readonly site?: string | undefined;
  /** Who gives applications the parameters of models; without it releases of parameters are refused. */
  readonly parameters?: ParameterServing | undefined;
  /** Who tries releases beside those that serve; without it trials are refused. */
  readonly trials?: TrialServing | undefined;
  /** Who runs releases of the agent itself, and on what; without it they are refused. */
  readonly agentReleases?: { readonly runner: AgentRunner; readonly platform: Platform } | undefined;
  readonly clock: Clock;
  /** These three must not throw: a report that can't be stored must not stop an update. */
  readonly onTransition: (transition: TransitionBody) => void;
  readonly onRefusal: (refusal: RefusalBody) => void;
  readonly onIncident: (incident: IncidentBody) => void;
  readonly retry?: RetryBounds;
  /** Over all downloads of the device. */
  readonly bandwidth?: BandwidthLimits;
  /** In place of the table's deadlines (states.ts), in real time. */
  readonly deadlinesMs?: Partial<Record<UpdateState, number>>;
  readonly diskFreeBytes?: (path: string) => Promise<number>;
  readonly killPoint?: KillPoint;
}

export interface Adaptation {
  readonly model: ModelName;
  /** Absolute path of the fine-tuned file; it is copied. */
  readonly modelFile: string;
  readonly digest: Digest;
}

/** Keeps the models of one device as the director ordered them. */
export interface Updater {
  /**
   * Takes one order in: checks it, journals it, begins with it. Resolves when it is on disk or refused (see `onRefusal`); rejects only when it
   * can't be stored, and must then be delivered again.
   */
  receive(order: Uint8Array, options?: ReceiveOptions): Promise<Receipt>;
  /** Serves again what served before, and goes on with what was interrupted. Resolves when each model serves, or can't. */
  resume(): Promise<void>;
  state(): StateBody['models'];
  /** What can be ordered of this device. */
  kindsTaken(): OrderKind[];
  /** Whose signatures count here: as enrolment gave them, or the holders of the root since. */
  director(): KeySet;
  /** The latest time that a signed order vouched for; 0 before the first. */
  timeFloorMs(): number;
  /** What is known of the release repository, and whether it is fresh. */
  repository(): RepositoryStatus;
  /** Looks for news of the release repository, so that staleness is noticed without an order. Rejects with the reason. */
  refreshRepository(signal: AbortSignal): Promise<void>;
  /** Takes metadata from a bundle. @throws TufError */
  learnRepository(from: MetadataFetcher, signal: AbortSignal): Promise<void>;
  /** What serves now: the committed release, its adaptation, or the candidate in probation. */
  active(model: ModelName): InstalledModel | undefined;
  /** @throws UpdateError ADAPTATION_NOT_POSSIBLE, ADAPTATION_DAMAGED; what serving throws, and then the base serves as before */
  activateAdaptation(adaptation: Adaptation): Promise<void>;
  /** @throws UpdateError ADAPTATION_NOT_POSSIBLE */
  dropAdaptation(model: ModelName): Promise<void>;
  /** Stops at the next point where nothing is lost. What serves goes on serving. */
  close(): Promise<void>;
}

const RETRY: RetryBounds = { firstMs: 1_000, maxMs: 60_000, giveUpAfterMs: 24 * 3_600_000 };
const ACTIVATION_DEADLINE_MS = 15 * 60_000;

/** @throws DatabaseError, HostError when the data folder can't be used; TufError TUF_ANCHOR_INVALID */
export async function createUpdater(options: UpdaterOptions): Promise<Updater> {
  const { dataDir, clock, onIncident, diskFreeBytes = systemDiskFreeBytes, deadlinesMs = {}, retry = RETRY } = options;
  const { runner: agent, platform } = options.agentReleases ?? NO_AGENT_RELEASES;
  const gate = createWriteGate(options.killPoint ?? (() => undefined));
  const store = await ReleaseStore.open({ dataDir, gate, diskFreeBytes });
  const journal = openJournal({
    dataDir,
    gate,
    nowMs: () => clock.now(),
    onRebuilt: (error) => onIncident({ error: toReportableError(error) }),
  });
  const repository = openTrustedRepository({
    dataDir,
    gate,
    pinnedRoot: options.pinnedRoot,
    fetcher: options.source.metadata,
    standIns: () => options.source.standIns?.() ?? [],
    nowMs: () => timeToJudgeBy(clock.now(), journal.timeFloorMs()),
  });
  const parameters =
    options.parameters &&
    new ParametersInForce({
      dataDir,
      gate,
      serving: options.serving,
      values: options.parameters,
      committedVersion: (model) => journal.models.get(model)?.committed?.version,
      onIncident: (error) => onIncident({ error: toReportableError(error) }),
    });
  const runners: Runners = {
    serving: parameters ? followedBy(options.serving, (model) => parameters.modelChanged(model)) : options.serving,
    agent,
    parameters,
    trials: options.trials,
  };
  const environment: UpdateEnvironment = {
    ...options,
    ...runners,
    platform,
    site: options.site,
    repository,
    store,
    journal,
    gate,
    retry,
    bandwidth: new Bandwidth(options.bandwidth ?? DEFAULT_LIMITS, clock),
    deadlinesMs,
    activationDeadlineMs: deadlinesMs.activating ?? ACTIVATION_DEADLINE_MS,
    collect: () => {
      const kept = keptBy(journal);
      collectGarbage(store, gate, kept);
      agent.collect(kept.releases);
    },
  };
  const models = new Map<ModelName, ModelUpdate>();
  const updateOf = (model: ModelName): ModelUpdate => {
    const known = models.get(model);
    if (known) return known;
    const fresh = new ModelUpdate(model, environment);
    models.set(model, fresh);
    return fresh;
  };
  for (const model of journal.models.keys()) updateOf(model);
  const closing = new AbortController();
  const receive = createReceiver({
    ...options,
    closing: closing.signal,
    journal,
    gate,
    repository,
    runners,
    onAccepted: (model) => updateOf(model).start(),
  });

  /** Whatever keeps garbage from being removed must not keep models from being served. */
  function collectAtStart(): void {
    try {
      environment.collect();
    } catch (error) {
      if (gate.cause() !== undefined) throw error;
      onIncident({ error: toReportableError(error) });
    }
  }

  function reportClock(): void {
    if (clockState(clock.now(), journal.timeFloorMs()) === 'plausible') return;
    const error = new HostError(
      'HOST_CLOCK_BEHIND',
      `The clock reads ${new Date(clock.now()).toISOString()}, which has passed.`,
      {
        remedy:
          'Set up time synchronization (timedatectl set-ntp true). Until then expiry is judged by the time of the last signed order.',
      },
    );
    onIncident({ error: toReportableError(error) });
  }

  return {
    receive,
    async resume() {
      reportClock();
      collectAtStart();
      const isTrial = ({ model }: ModelUpdate) => orderKindOf(model) === 'trial';
      const all = [...models.values()];
      await Promise.all(all.filter((each) => !isTrial(each)).map((model) => model.resume()));
      // What is tried stands beside what serves.
      await Promise.all(all.filter(isTrial).map((trial) => trial.resume()));
      await parameters?.removeStrays();
    },
    director: () => authorityOf(options.enrolled, journal.recovery()).director,
    timeFloorMs: () => journal.timeFloorMs(),
    state: () => [...models.values()].map((model) => model.status()),
    kindsTaken: () => kindsTaken(runners),
    repository: () => repository.status(),
    refreshRepository: (signal) => repository.refresh(signal),
    learnRepository: (from, signal) => repository.learn(from, signal),
    active(model) {
      const serving = models.get(model)?.base.serving();
      return serving && isModel(serving) ? serving : undefined;
    },
    activateAdaptation: ({ model, modelFile, digest }) => updateOf(model).adapt(modelFile, digest),
    dropAdaptation: (model) => updateOf(model).dropAdaptation(),
    async close() {
      closing.abort(stopping());
      try {
        await Promise.all([...models.values()].map((model) => model.close()));
      } finally {
        journal.close();
      }
    },
  };
}

const NO_AGENT_RELEASES = {
  runner: unlaunchedAgent(Version('0.0.0')),
  platform: { os: 'none', arch: 'none', nodeAbi: '0' },
};

function keptBy(journal: Journal) {
  const releases = new Set<Digest>();
  const adaptations = new Set<Digest>();
  for (const { committed, previous, adaptation } of journal.models.values()) {
    for (const release of [committed, previous]) if (release) releases.add(release.digest);
    if (adaptation) adaptations.add(adaptation.digest);
  }
  for (const { state, deployment } of journal.updates.values()) {
    if (state !== 'cleaning-up') releases.add(deployment.release.digest);
  }
  return { releases, adaptations };
}
