import type { ModelName } from '@drover/shared/ids';
import type { Deployment, RunningModel } from '@drover/shared/protocol';
import { AGENT_MODEL, contractFor, type FileReference, type Platform } from '@drover/shared/manifest';
import { TufError } from '@drover/shared/trust/tuf';
import type { Clock } from '../host/index.js';
import type { Bandwidth, Priority } from './delivery/bandwidth.js';
import { deliverFile, type Delivery } from './delivery/deliver.js';
import { withRetries, type RetryBounds } from './download.js';
import { withDeadline } from './deadline.js';
import { UpdateError } from './errors.js';
import type { ReleaseSource } from './fetch.js';
import { refuseForeignFiles } from './model-file.js';
import {
  isAgent,
  type AgentRunner,
  type Installed,
  type InstalledModel,
  type Replaced,
  type Serving,
  type ServingHealth,
} from './ports.js';
import { judgeProbation } from './probation.js';
import { toReportableError } from './reportable.js';
import { filesOf, openRelease, type ReleaseExpectation, type VerifiedRelease } from './release.js';
import type { ReleaseStore } from './store.js';
import type { TrustedRepository } from './trusted-repository.js';

/** Probation has no deadline of its own, and a test may hang. */
const SELF_TEST_DEADLINE_MS = 15 * 60_000;

/** What the steps of one update work with. */
export interface StepContext {
  readonly deployment: Deployment;
  readonly platform: Platform;
  readonly repository: TrustedRepository;
  readonly source: ReleaseSource;
  readonly store: ReleaseStore;
  readonly serving: Serving;
  readonly agent: AgentRunner;
  readonly clock: Clock;
  readonly retry: RetryBounds;
  readonly bandwidth: Bandwidth;
  readonly signal: AbortSignal;
}

/** What a successful step says for the record. */
export interface StepSuccess {
  readonly reason: string;
}

export const expectationOf = (
  { model, release, hardwareClass }: Pick<Deployment, 'model' | 'release' | 'hardwareClass'>,
  { platform }: Pick<StepContext, 'platform'>,
): ReleaseExpectation => ({ model, release, hardwareClass, platform });

const candidateOf = (context: StepContext): Promise<Installed> =>
  context.store.load(expectationOf(context.deployment, context));

/** First what both repositories say, then the manifest: it decides what else is fetched, and how much. */
export async function fetchRelease(context: StepContext, wasCommitted: boolean): Promise<StepSuccess> {
  const { deployment, store, source, signal } = context;
  const listed = await confirmListed(context, wasCommitted);
  const release = await openStoredOrFetchedManifest(context);
  const files = filesOf(release.manifest, release.variant);
  await store.reserve(files);
  const missing: FileReference[] = [];
  for (const file of files) if (!(await store.hasIntactBlob(file, signal))) missing.push(file);
  const priority = priorityOf(deployment, missing);
  const { clock, retry, bandwidth } = context;
  const deliveries: Delivery[] = [];
  for (const file of missing) {
    if (await store.hasBlob(file)) continue;
    deliveries.push(await deliverFile(file, { source, store, clock, retry, bandwidth, priority, signal }));
  }
  const there = files.length - deliveries.length;
  const said = deliveries.filter(({ bytes }) => bytes > MENTIONED_BYTES).map(toWords);
  const summary = `${deployment.release.version}: ${listed}; fetched ${deliveries.length} files, ${there} were there`;
  return { reason: [summary, ...said].join('; ') };
}

/** Smaller files are not worth a line in the report. */
const MENTIONED_BYTES = 64 * 1024;
/** A release of at most this much is let through before a larger one. */
const SMALL_BYTES = 1024 ** 2;

function priorityOf({ downgrade }: Deployment, missing: readonly FileReference[]): Priority {
  if (downgrade) return 'revert';
  return missing.reduce((sum, { bytes }) => sum + bytes, 0) <= SMALL_BYTES ? 'small' : 'large';
}

const toWords = ({ path, bytes, received, how }: Delivery): string => `${path}: ${received} of ${bytes} bytes, ${how}`;

/**
 * Both repositories have to name the same bytes (docs/protocol.md, section 3). A release that this device committed before was listed then: where
 * nobody can be asked, or what was listed has expired, a signed way back to it goes by that.
 */
async function confirmListed(context: StepContext, wasCommitted: boolean): Promise<string> {
  const { deployment, repository, signal } = context;
  const confirm = () => repository.confirm(deployment, signal);
  if (!wasCommitted) return withRetries(context, confirm);
  try {
    return await confirm();
  } catch (error) {
    signal.throwIfAborted();
    const mayPass =
      (error instanceof UpdateError && error.retryable) || (error instanceof TufError && error.code === 'TUF_EXPIRED');
    if (!mayPass) throw error;
    return `committed here before, and not confirmed anew (${toReportableError(error).code})`;
  }
}

async function openStoredOrFetchedManifest(context: StepContext): Promise<VerifiedRelease> {
  const { deployment, store, source, signal } = context;
  const expected = expectationOf(deployment, context);
  const stored = await store.readManifest(deployment.release.digest);
  if (stored) {
    try {
      return openRelease(stored, expected);
    } catch {
      // It held when it was stored, so the disk has changed it: no reason to refuse what the publisher may well have listed.
      await store.discardManifest(deployment.release.digest);
    }
  }
  const fetched = await withRetries(context, () => source.manifest(deployment.release.digest, signal));
  const release = openRelease(fetched, expected);
  await store.storeManifest(release);
  return release;
}

/** Reads everything again from the disk: what arrived is not yet what lies there. */
export async function verifyRelease(context: StepContext): Promise<StepSuccess> {
  const { store, signal } = context;
  const release = await openStored(context);
  const files = filesOf(release.manifest, release.variant);
  for (const file of files) await store.verifyBlob(file, signal);
  if (!('bundle' in release.variant)) await refuseForeignFiles(store.blobFile(release.variant.model.digest), signal);
  return { reason: `the manifest and ${files.length} files have their digests` };
}

export async function stageRelease(context: StepContext): Promise<StepSuccess> {
  const { store, agent, signal } = context;
  await store.stage(await openStored(context), signal);
  const candidate = await candidateOf(context);
  if (!isAgent(candidate)) return { reason: 'the release folder is complete' };
  await agent.stage(candidate, signal);
  return { reason: 'the version lies beside the one that runs' };
}

async function openStored(context: StepContext): Promise<VerifiedRelease> {
  const { deployment, store } = context;
  const manifestBytes = await store.readManifest(deployment.release.digest);
  if (manifestBytes) return openRelease(manifestBytes, expectationOf(deployment, context));
  throw new UpdateError('UPDATE_FILE_DAMAGED', 'The fetched manifest of the release has vanished.', {
    where: store.layout.incoming,
    remedy: 'Check the disk (smartctl, dmesg), then order the release again.',
  });
}

export async function selfTest(context: StepContext): Promise<StepSuccess> {
  const candidate = await candidateOf(context);
  if (isAgent(candidate)) return { reason: await context.agent.selfTest(candidate, context.signal) };
  const result = await context.serving.selfTest(candidate, context.signal);
  return {
    reason: `golden vectors within ${result.worstDifference} on ${result.provider.actual}, ${result.latencyUs} µs`,
  };
}

/** From the start of a version of the agent to its commit: probation, and what a slow device takes before and after it. */
const AGENT_START_MS = 15 * 60_000;

/** Activates the candidate and believes only what the inference process says it has loaded. */
export async function activateCandidate(context: StepContext): Promise<{ candidate: Installed; reason: string }> {
  const { serving, agent, deployment, signal } = context;
  const candidate = await candidateOf(context);
  if (!isAgent(candidate)) return { candidate, reason: await activateModel(serving, candidate, signal, 'keep') };
  const running = await agent.activate(candidate, deployment.probation.maxMs + AGENT_START_MS, signal);
  return { candidate, reason: `${candidate.model} ${running.release.version} runs on ${running.provider.actual}` };
}

/** @throws UpdateError UPDATE_UNEXPECTED_MODEL, or what serving threw */
export async function activateModel(
  serving: Serving,
  target: InstalledModel,
  signal: AbortSignal,
  replaced: Replaced = 'close',
): Promise<string> {
  const running = await serving.activate(target, signal, replaced);
  if (running.loaded === target.loaded && running.release.digest === target.release.digest) {
    return `${target.model} ${target.release.version} serves on ${running.provider.actual}`;
  }
  throw new UpdateError(
    'UPDATE_UNEXPECTED_MODEL',
    `Serving has loaded ${running.loaded} of ${running.release.version}; asked for was ${target.loaded} of ${target.release.version}.`,
    { remedy: 'This is a defect in Drover. Report it with the log around this line.' },
  );
}

/**
 * The golden vectors once more, from the disk and beside what serves: what is about to be committed has to be what was tested, after whatever
 * happened since.
 */
async function testedAgain({ serving, signal }: StepContext, candidate: Installed): Promise<string> {
  if (isAgent(candidate)) return '';
  const what = `The self-test of ${candidate.model} ${candidate.release.version} in probation`;
  const { worstDifference } = await withDeadline({ what, deadlineMs: SELF_TEST_DEADLINE_MS, signal }, (bounded) =>
    serving.selfTest(candidate, bounded),
  );
  return `; golden vectors within ${worstDifference}`;
}

/** Watches the candidate until probation is decided. Its time begins here, also after a restart: the counts began anew with it. */
export async function observeProbation(context: StepContext): Promise<StepSuccess> {
  const { deployment, clock, signal } = context;
  const { model, release } = deployment;
  const isOfAgent = model === AGENT_MODEL;
  // Nobody sends requests to the agent itself.
  const probation = isOfAgent ? { ...deployment.probation, minRequests: 0 } : deployment.probation;
  const beganAtMs = clock.monotonic();
  const candidate = await candidateOf(context);
  const contract = isAgent(candidate) ? undefined : contractFor(candidate.manifest, deployment.hardwareClass);
  for (;;) {
    signal.throwIfAborted();
    const elapsedMs = clock.monotonic() - beganAtMs;
    const health = isOfAgent ? NO_REQUESTS : context.serving.health(model);
    const verdict = judgeProbation(probation, health, elapsedMs, contract);
    if (verdict.kind === 'unhealthy') throw verdict.error;
    if (verdict.kind === 'healthy') {
      const unfit = isOfAgent ? context.agent.unfit() : undefined;
      const isRunning = runningOf(context, model)?.release.digest === release.digest;
      if (isRunning && unfit === undefined)
        return { reason: `${verdict.reason}${await testedAgain(context, candidate)}` };
      // Between a crash and its restart nothing runs, and silence is no health.
      if (elapsedMs >= probation.maxMs) throw unfit === undefined ? notRunning(deployment) : notFit(deployment, unfit);
    }
    await clock.sleep(verdict.kind === 'healthy' ? 100 : verdict.nextLookMs, signal);
  }
}

const NO_REQUESTS: ServingHealth = { requests: 0, failures: 0, crashes: 0 };

export const runningOf = (
  { serving, agent }: Pick<StepContext, 'serving' | 'agent'>,
  model: ModelName,
): RunningModel | undefined => (model === AGENT_MODEL ? agent.running() : serving.running(model));

const notFit = ({ model, release }: Deployment, why: string) =>
  new UpdateError('AGENT_UNFIT', `${model} ${release.version} was not fit at the end of probation: ${why}.`, {
    remedy:
      'If the network was down, order the release again; else look at the log of the device (journalctl -u drover-agent).',
  });

const notRunning = ({ model, release }: Deployment) =>
  new UpdateError('PROBATION_NOT_RUNNING', `${model} ${release.version} was not running at the end of probation.`, {
    remedy: 'Look at the log of the inference process on the device, mend the model and publish a new release.',
  });
