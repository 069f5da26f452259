import type { KeyPair } from '@drover/shared/trust';
import { bulkSigner } from '@drover/shared/trust';
import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import type { DriftBody, ReportBody, ReportKind, StateBody } from '@drover/shared/protocol';
import type { ModelName } from '@drover/shared/ids';
import type { AgentConfig } from '../config/index.js';
import type { Clock, HostProbe } from '../host/index.js';
import type { Identity } from '../identity/index.js';
import { openLink, openOutbox, type Link, type Outbox } from '../link/index.js';
import { createReporter, DriftWatch, type TelemetryStore } from '../monitor/index.js';
import { createUpdater, httpReleaseSource, type KillPoint, type Serving, type Updater } from '../update/index.js';
import { every } from './every.js';
import type { Log } from './log.js';
import { TuningQueue } from './tuning-queue.js';

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly agentVersion: string;
  readonly identity: Identity;
  readonly deviceKey: KeyPair;
  readonly serving: Serving;
  readonly telemetry: TelemetryStore;
  readonly host: HostProbe;
  readonly clock: Clock;
  readonly log: Log;
  /** Tests and the simulator cut the power here. */
  readonly killPoint?: KillPoint;
}

export interface AgentStatus {
  readonly deviceId: string;
  readonly agentVersion: string;
  readonly connected: boolean;
  readonly outbox: { reports: number; bytes: number; dropped: number };
  readonly publisherKeys: readonly string[];
  readonly models: StateBody['models'];
  readonly driftedModels: readonly string[];
  readonly lastProblems: readonly { code: string; what: string; remedy: string }[];
}

export interface Agent {
  status(): AgentStatus;
  /** Something outside the agent went wrong that the operator should see: it becomes an incident. */
  incident(error: unknown): void;
  close(): Promise<void>;
}

const KEPT_PROBLEMS = 10;
/** How often SQLite is asked whether a window is full. */
const DRIFT_INTERVAL_MS = 500;

/**
 * Composes the agent from its parts: orders go to the updater, what happens goes to the outbox, and from there to the control plane whenever it
 * can be reached. Everything here works without a network.
 *
 * INVARIANT: a report is in the outbox before the thing that it reports can be forgotten; closing undoes starting in reverse order.
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config, identity, telemetry, clock, log } = options;
  const { grant } = identity;
  const problems: CodedErrorJson[] = [];
  const closers: (() => Promise<void> | void)[] = [];

  // tweetnacl takes 5 ms to sign, and telemetry is signed all the time: node:crypto makes the same bytes in 0.05 ms.
  const outbox: Outbox = openOutbox({
    dataDir: config.dataDir,
    deviceId: grant.deviceId,
    signer: bulkSigner(options.deviceKey),
    clock,
    maxReports: config.outbox.maxReports,
    maxBytes: config.outbox.maxBytes,
  });
  closers.push(() => outbox.close());

  /** A report that cannot be stored (a full disk) is told in the log and the status; it must not stop what it tells of. */
  function report<Kind extends ReportKind>(kind: Kind, body: ReportBody<Kind>): void {
    try {
      outbox.enqueue(kind, body);
    } catch (thrown) {
      const error = toCodedErrorJson(thrown);
      keepProblem(error);
      log.error('report not stored', { kind, ...error });
    }
  }

  function keepProblem(error: CodedErrorJson): void {
    problems.push(error);
    if (problems.length > KEPT_PROBLEMS) problems.shift();
  }

  const incident = (thrown: unknown): void => keepIncident(toCodedErrorJson(thrown));

  function keepIncident(error: CodedErrorJson): void {
    keepProblem(error);
    log.warn('incident', error);
    report('incident', { error });
  }

  const drifted = new Set<ModelName>();
  const driftWatch = new DriftWatch({
    store: telemetry,
    clock,
    onDrift: (body: DriftBody) => {
      log.warn('drift', body);
      report('drift', body);
      if (body.status === 'raised') {
        drifted.add(body.model);
        tuning.want(body.model, body.windowEndAt);
      } else {
        drifted.delete(body.model);
        tuning.forget(body.model);
      }
    },
    onIncident: incident,
  });
  const serving = announceActivations(options.serving, driftWatch);

  const updater: Updater = await createUpdater({
    dataDir: config.dataDir,
    deviceId: grant.deviceId,
    hardwareClass: identity.hardwareClass,
    publisherKeys: identity.publisherKeys,
    director: grant.director,
    source: httpReleaseSource({
      controlPlaneUrl: identity.controlPlaneUrl,
      deviceId: grant.deviceId,
      credential: grant.credential,
    }),
    serving,
    clock,
    onTransition: (transition) => {
      log.info('update', transition);
      report('transition', transition);
      if (transition.to === 'idle' || transition.to === 'probation') reportState();
    },
    onRefusal: (refusal) => {
      log.warn('refusal', refusal);
      report('refusal', refusal);
    },
    onIncident: ({ error }) => keepIncident(error),
    diskFreeBytes: (path) => options.host.diskFreeBytes(path),
    ...(options.killPoint ? { killPoint: options.killPoint } : {}),
  });
  closers.push(() => updater.close());

  function reportState(): void {
    report('state', {
      agentVersion: options.agentVersion,
      hardwareClass: identity.hardwareClass,
      attributes: identity.attributes,
      models: updater.state(),
    });
  }

  const tuning = new TuningQueue({
    config,
    deviceId: grant.deviceId,
    serving,
    telemetry,
    clock,
    log,
    active: (model) => updater.active(model),
    activate: async (adaptation) => {
      await updater.activateAdaptation(adaptation);
      reportState();
    },
    report: (body) => report('adaptation', body),
    onProblem: incident,
  });
  closers.push(() => tuning.close());

  const reporter = createReporter({ store: telemetry, host: options.host, clock });

  await updater.resume();
  reportState();

  const link: Link = openLink({
    url: grant.brokerUrl,
    deviceId: grant.deviceId,
    credential: grant.credential,
    outbox,
    clock,
    onOrder: (envelope) => updater.receive(envelope),
    onConnected: () => {
      log.info('connected', { broker: grant.brokerUrl });
      reportState();
    },
    onProblem: (error) => log.warn('link', error.toJSON()),
  });
  closers.push(() => link.close());

  const loop = (name: string, intervalMs: number, act: () => Promise<void>) =>
    closers.push(every({ intervalMs, clock, act, onError: (error) => incident(error), name }));
  loop('telemetry', config.telemetry.intervalMs, async () => report('telemetry', await reporter.telemetryBody()));
  loop('drift', DRIFT_INTERVAL_MS, () => driftWatch.check());
  loop('tuning', DRIFT_INTERVAL_MS, () => tuning.check());

  return {
    status: () => ({
      deviceId: grant.deviceId,
      agentVersion: options.agentVersion,
      connected: link.isConnected(),
      outbox: outbox.pending(),
      publisherKeys: identity.publisherKeys.keys.map(({ keyId }) => keyId),
      models: updater.state(),
      driftedModels: [...drifted],
      lastProblems: problems,
    }),
    incident,
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
}

/** Drift is watched from each activation on, whoever caused it: an update, a fall back, an adaptation, a start of the agent. */
function announceActivations(serving: Serving, watch: Pick<DriftWatch, 'activated' | 'deactivated'>): Serving {
  return {
    selfTest: (candidate, signal) => serving.selfTest(candidate, signal),
    async activate(candidate, signal) {
      const running = await serving.activate(candidate, signal);
      await watch.activated(candidate);
      return running;
    },
    async deactivate(model) {
      await serving.deactivate(model);
      await watch.deactivated(model);
    },
    running: (model) => serving.running(model),
    health: (model) => serving.health(model),
  };
}
