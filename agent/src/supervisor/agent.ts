import type { KeyPair } from '@drover/shared/trust';
import { bulkSigner, payloadTypeOf } from '@drover/shared/trust';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import {
  LABEL_ANSWERS_TAKEN,
  LABEL_ANSWERS_TYPE,
  type DriftBody,
  type ReportBody,
  type ReportKind,
  type StateBody,
} from '@drover/shared/protocol';
import type { ModelName } from '@drover/shared/ids';
import type { AgentConfig } from '../config/index.js';
import { openImports } from '../bundles/index.js';
import type { MirrorStatus } from '../sources/index.js';
import { BUILD_FLOOR_MS, type Clock, type HostProbe } from '../host/index.js';
import { brokerUrls, identityChannel, networkOf, type Identity } from '../identity/index.js';
import { openLink, openOutbox, type Link, type LinkError, type Outbox } from '../link/index.js';
import { createReporter, DriftWatch, type TelemetryStore } from '../monitor/index.js';
import { MANIFEST_PARTS, type Platform } from '@drover/shared/manifest';
import {
  createUpdater,
  httpReleaseSource,
  type AgentRunner,
  type KillPoint,
  type ParameterServing,
  type Serving,
  type TrialServing,
  type Updater,
} from '../update/index.js';
import { toReportableError } from '../update/reportable.js';
import { keepCertificate } from './certificate-keeper.js';
import { createClosers, type Closers } from './closers.js';
import { every } from './every.js';
import { createLabelling } from './labelling.js';
import type { Log } from './log.js';
import { createProblems } from './problems.js';
import { createRepositoryWatch, type RepositoryReport } from './repository-watch.js';
import { createReleaseSources } from './release-sources.js';
import { createTelemetryReports } from './telemetry-reports.js';
import { TuningQueue } from './tuning-queue.js';
import { watchServing } from './watched-serving.js';

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly agentVersion: string;
  readonly identity: Identity;
  readonly deviceKey: KeyPair;
  readonly serving: Serving;
  /** Who gives applications the parameters of models, where somebody does. */
  readonly parameters?: ParameterServing | undefined;
  /** Who tries releases beside those that serve, where somebody does. */
  readonly trials?: TrialServing | undefined;
  readonly telemetry: TelemetryStore;
  readonly host: HostProbe;
  readonly clock: Clock;
  readonly log: Log;
  /** Where a launcher started this agent: how it is replaced by another version, and who is told that it reached the control plane. */
  readonly agentReleases?:
    { readonly runner: AgentRunner & { connected(): void }; readonly platform: Platform } | undefined;
  /** Tests and the simulator cut the power here. */
  readonly killPoint?: KillPoint;
}

export interface AgentStatus {
  readonly deviceId: string;
  readonly agentVersion: string;
  readonly connected: boolean;
  /** Why it is not connected, as far as that is known. */
  readonly linkProblem?: CodedErrorJson;
  readonly outbox: { reports: number; bytes: number; dropped: number };
  readonly repository: RepositoryReport;
  readonly mirrors: readonly MirrorStatus[];
  readonly models: StateBody['models'];
  readonly driftedModels: readonly string[];
  readonly lastProblems: readonly CodedErrorJson[];
}

export interface Agent {
  status(): AgentStatus;
  /** Something outside the agent went wrong that the operator should see: it becomes an incident. */
  incident(error: unknown): void;
  /** Stops within seconds, whatever is under way. Serving and telemetry are the caller's, and stay open. */
  close(): Promise<void>;
}

/** How often SQLite is asked whether a window is full. */
const DRIFT_INTERVAL_MS = 500;
/** How often it is asked whether there are labelled samples enough, which reads them all. */
const TUNING_INTERVAL_MS = 2_000;
/** How often the agent may ask for one more label. */
const LABELLING_INTERVAL_MS = 10_000;
/** How often the control plane is asked about the certificate; also at each connection. */
const CERTIFICATE_INTERVAL_MS = 12 * 3_600_000;
/** What the link says when the broker does not take the certificate (any more). */
const CERTIFICATE_REFUSED: ReadonlySet<LinkError['code']> = new Set(['LINK_REFUSED', 'LINK_CERTIFICATE_REFUSED']);
/** How often it is asked whether somebody has brought a bundle. */
const IMPORT_INTERVAL_MS = 1_000;
/** How often it is asked whether a look at the release repository is due. */
const REPOSITORY_INTERVAL_MS = 60_000;

/**
 * Composes the agent from its parts: orders go to the updater, what happens goes to the outbox, and from there to the control plane whenever it
 * can be reached. Everything here works without a network.
 *
 * INVARIANT: a report is in the outbox before the thing that it reports can be forgotten; closing undoes starting in reverse order.
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const closers = createClosers();
  try {
    return await compose(options, closers);
  } catch (error) {
    // What kept it from starting is what the caller has to hear.
    await closers.close().catch((failure: unknown) => options.log.error('close', toReportableError(failure)));
    throw error;
  }
}

async function compose(options: AgentOptions, closers: Closers): Promise<Agent> {
  const { config, identity, telemetry, clock, log } = options;
  const { grant } = identity;
  const problems = createProblems();
  let linkProblem: CodedErrorJson | undefined;

  // tweetnacl takes 5 ms to sign, and telemetry is signed all the time: node:crypto makes the same bytes in 0.05 ms.
  const outbox: Outbox = openOutbox({
    dataDir: config.dataDir,
    deviceId: grant.deviceId,
    signer: bulkSigner(options.deviceKey),
    clock,
    maxReports: config.outbox.maxReports,
    maxBytes: config.outbox.maxBytes,
  });
  closers.add(() => outbox.close());

  /** A report that cannot be stored (a full disk) is told in the log and the status; it must not stop what it tells of. */
  function report<Kind extends ReportKind>(kind: Kind, body: ReportBody<Kind>): boolean {
    try {
      outbox.enqueue(kind, body);
      return true;
    } catch (thrown) {
      const error = toReportableError(thrown);
      problems.add(error);
      log.error('report not stored', { kind, ...error });
      return false;
    }
  }

  const incident = (thrown: unknown): void => keepIncident(toReportableError(thrown));

  function keepIncident(error: CodedErrorJson): void {
    problems.add(error);
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
  const serving = watchServing(options.serving, driftWatch, incident);

  const channel = identityChannel({
    network: networkOf(config),
    identity: () => certificates.identity(),
    deviceKey: options.deviceKey,
    notBeforeMs: () => Math.max(clock.now(), updater.timeFloorMs(), BUILD_FLOOR_MS),
  });
  closers.add(() => channel.reset());
  const certificates = keepCertificate({
    dataDir: config.dataDir,
    identity,
    deviceKey: options.deviceKey,
    agentVersion: options.agentVersion,
    clock,
    fetch: channel.fetch,
    log,
    onRenewed: () => {
      channel.reset();
      link.reconnect();
    },
  });

  const imports = await openImports({
    dataDir: config.dataDir,
    deviceId: grant.deviceId,
    updater: () => ({
      learn: (from, signal) => updater.learnRepository(from, signal),
      receive: (document, how) => updater.receive(document, how),
      isDone: (release) =>
        updater.state().some(({ running, update }) => running?.release.digest === release && update.state === 'idle'),
    }),
    onImported: (answer) => log.info('imported', answer),
    onIncident: incident,
  });
  closers.add(() => imports.close());
  const sources = createReleaseSources({
    config,
    controlPlane: httpReleaseSource({
      controlPlaneUrl: identity.controlPlaneUrl,
      deviceId: grant.deviceId,
      credential: grant.credential,
      fetch: channel.fetch,
    }),
    bundles: () => imports.origins(),
    fetch: channel.fetch,
    clock,
    onProblem: incident,
  });
  const updater: Updater = await createUpdater({
    dataDir: config.dataDir,
    deviceId: grant.deviceId,
    hardwareClass: identity.hardwareClass,
    site: identity.attributes['site'],
    pinnedRoot: Buffer.from(identity.pinnedRoot),
    enrolled: { epoch: grant.epoch, director: grant.director },
    source: sources.source,
    bandwidth: config.download,
    serving,
    parameters: options.parameters,
    trials: options.trials,
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
    agentReleases: options.agentReleases,
    ...(options.killPoint ? { killPoint: options.killPoint } : {}),
  });
  closers.add(() => updater.close());

  const repositoryWatch = createRepositoryWatch({ updater, clock, onIncident: incident });
  /** What a change of has to be told; how long it is still fresh for changes with every look. */
  const statedNow = (): string => {
    const { rootVersion, stale, lastFailure } = repositoryWatch.standing();
    return JSON.stringify([updater.state(), rootVersion, stale?.code, lastFailure?.code]);
  };
  let stated = '';
  function reportState(): void {
    const { hardwareClass, attributes } = identity;
    const { agentVersion } = options;
    const body = {
      agentVersion,
      hardwareClass,
      attributes,
      takes: [...updater.kindsTaken(), ...MANIFEST_PARTS, LABEL_ANSWERS_TAKEN],
      repository: repositoryWatch.standing(),
      models: updater.state(),
    };
    if (report('state', body)) stated = statedNow();
  }
  /** What runs also changes without an update: the inference process dies, or comes back without a model. */
  function reportChangedState(): void {
    if (statedNow() !== stated) reportState();
  }

  const tuning = new TuningQueue({
    config,
    deviceId: grant.deviceId,
    serving,
    telemetry,
    clock,
    log,
    active: (model) => updater.active(model),
    isSettled: (model) => updater.state().some((each) => each.model === model && each.update.state === 'idle'),
    activate: async (adaptation) => {
      await updater.activateAdaptation(adaptation);
      reportState();
    },
    report: (body) => void report('adaptation', body),
    onProblem: incident,
  });

  const labelling = createLabelling({
    settings: config.labels,
    deviceId: grant.deviceId,
    telemetry,
    director: () => updater.director(),
    active: (model) => updater.active(model),
    isDrifting: () => drifted.size > 0,
    clock,
    log,
    onIncident: incident,
  });
  const telemetryReports = createTelemetryReports(
    createReporter({ store: telemetry, host: options.host, clock, ...labelling.reported }),
    (body) => report('telemetry', body),
  );
  closers.add(() => telemetryReports.flush());

  /** The watch knows by its stored verdicts that an alarm is up; it will not raise it again. */
  async function recallAlarms(): Promise<void> {
    for (const { model } of updater.state()) {
      const [last] = await telemetry.verdicts(model, 1);
      if (last?.alarm !== true) continue;
      drifted.add(model);
      if (last.servedBy.adaptation === undefined)
        tuning.recall(model, last.servedBy.release.digest, last.windowEndAtMs);
    }
  }

  await updater.resume();
  reportState();
  await recallAlarms().catch(incident);

  const link: Link = openLink({
    urls: brokerUrls(identity),
    channel,
    deviceId: grant.deviceId,
    credential: grant.credential,
    outbox,
    clock,
    keepaliveS: config.link.keepaliveS,
    onOrder: async (envelope) => {
      if (payloadTypeOf(envelope) !== LABEL_ANSWERS_TYPE) await updater.receive(envelope);
      // At once: whoever labels sees what became of it, whatever the interval.
      else if (await labelling.receive(envelope)) await telemetryReports.next().catch(incident);
    },
    onConnected: (broker) => {
      linkProblem = undefined;
      options.agentReleases?.runner.connected();
      log.info('connected', { broker });
      // Telemetry is what is dropped first: a listing of labels may have been among it.
      if (outbox.pending().dropped > 0) labelling.listAfresh();
      reportState();
      certificates.check().catch(incident);
    },
    onProblem: (error) => {
      linkProblem = error.toJSON();
      log.warn('link', linkProblem);
      // A broker may also just hang up on a certificate that has run out.
      (CERTIFICATE_REFUSED.has(error.code) ? certificates.refused() : certificates.suspect()).catch(incident);
    },
  });
  closers.add(() => link.close());

  const loop = (intervalMs: number, act: () => Promise<void>) =>
    closers.add(every({ intervalMs, clock, act, onError: incident }));
  loop(config.telemetry.intervalMs, async () => {
    reportChangedState();
    await telemetryReports.next();
  });
  loop(REPOSITORY_INTERVAL_MS, async () => {
    await repositoryWatch.look();
    reportChangedState();
  });
  closers.add(() => repositoryWatch.stop());
  loop(IMPORT_INTERVAL_MS, () => imports.look());
  closers.add(() => imports.stop());
  // Where it was turned off, what was still asked for is closed once.
  if (config.labels.perDay > 0) loop(LABELLING_INTERVAL_MS, () => labelling.ask());
  else await labelling.ask().catch(incident);
  loop(DRIFT_INTERVAL_MS, async () => {
    await driftWatch.check();
    await serving.watchRest();
  });
  loop(TUNING_INTERVAL_MS, () => tuning.check());
  loop(CERTIFICATE_INTERVAL_MS, () => certificates.check());
  // Before the loop is waited for: a training may take hours.
  closers.add(() => tuning.close());

  return {
    status: () => ({
      deviceId: grant.deviceId,
      agentVersion: options.agentVersion,
      connected: link.isConnected(),
      ...(linkProblem && !link.isConnected() ? { linkProblem } : {}),
      outbox: outbox.pending(),
      repository: repositoryWatch.report(),
      mirrors: sources.mirrors(),
      models: updater.state(),
      driftedModels: [...drifted],
      lastProblems: problems.last(),
    }),
    incident,
    close: () => closers.close(),
  };
}
