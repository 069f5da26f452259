import type { Deployment } from '@drover/shared/protocol';
import type { KeySet } from '@drover/shared/trust';
import type { Clock } from '../host/index.js';
import { downloadBlob, withRetries, type RetryBounds } from './download.js';
import { UpdateError } from './errors.js';
import type { ReleaseSource } from './fetch.js';
import { refuseForeignFiles } from './model-file.js';
import type { InstalledModel, Serving } from './ports.js';
import { judgeProbation } from './probation.js';
import { filesOf, openRelease, type ReleaseExpectation, type VerifiedRelease } from './release.js';
import type { ReleaseStore } from './store.js';

/** What the steps of one update work with. */
export interface StepContext {
  readonly deployment: Deployment;
  readonly publisherKeys: KeySet;
  readonly source: ReleaseSource;
  readonly store: ReleaseStore;
  readonly serving: Serving;
  readonly clock: Clock;
  readonly retry: RetryBounds;
  readonly signal: AbortSignal;
}

/** What a successful step says for the record. */
export interface StepSuccess {
  readonly reason: string;
}

export const expectationOf = (
  { model, release, hardwareClass }: Pick<Deployment, 'model' | 'release' | 'hardwareClass'>,
  publisherKeys: KeySet,
): ReleaseExpectation => ({ model, release, hardwareClass, publisherKeys });

const candidateOf = ({ store, deployment, publisherKeys }: StepContext): Promise<InstalledModel> =>
  store.load(expectationOf(deployment, publisherKeys));

/** Envelope first: its signature decides whether anything else is fetched, and how much. */
export async function fetchRelease(context: StepContext): Promise<StepSuccess> {
  const { deployment, store, source, signal } = context;
  const release = await openStoredOrFetchedEnvelope(context);
  const files = filesOf(release.manifest, release.variant);
  await store.reserve(files);
  let fetched = 0;
  for (const file of files) {
    if (await store.hasIntactBlob(file, signal)) continue;
    await downloadBlob(file, { source, store, clock: context.clock, retry: context.retry, signal });
    fetched += 1;
  }
  return { reason: `${deployment.release.version}: fetched ${fetched} files, ${files.length - fetched} were there` };
}

async function openStoredOrFetchedEnvelope(context: StepContext): Promise<VerifiedRelease> {
  const { deployment, publisherKeys, store, source, signal } = context;
  const expected = expectationOf(deployment, publisherKeys);
  const stored = await store.readEnvelope(deployment.release.digest);
  if (stored) {
    try {
      return openRelease(stored, expected);
    } catch {
      // It held when it was stored, so the disk has changed it: no reason to refuse what the publisher may well have signed.
      await store.discardEnvelope(deployment.release.digest);
    }
  }
  const fetched = await withRetries(context, () => source.envelope(deployment.release.digest, signal));
  const release = openRelease(fetched, expected);
  await store.storeEnvelope(release);
  return release;
}

/** Reads everything again from the disk: what arrived is not yet what lies there. */
export async function verifyRelease({ deployment, publisherKeys, store, signal }: StepContext): Promise<StepSuccess> {
  const release = await openStored(deployment, publisherKeys, store);
  const files = filesOf(release.manifest, release.variant);
  for (const file of files) await store.verifyBlob(file, signal);
  await refuseForeignFiles(store.blobFile(release.variant.model.digest), signal);
  return { reason: `signature and ${files.length} digests hold` };
}

export async function stageRelease({ deployment, publisherKeys, store, signal }: StepContext): Promise<StepSuccess> {
  await store.stage(await openStored(deployment, publisherKeys, store), signal);
  return { reason: 'the release folder is complete' };
}

async function openStored(
  deployment: Deployment,
  publisherKeys: KeySet,
  store: ReleaseStore,
): Promise<VerifiedRelease> {
  const envelope = await store.readEnvelope(deployment.release.digest);
  if (envelope) return openRelease(envelope, expectationOf(deployment, publisherKeys));
  throw new UpdateError('UPDATE_FILE_DAMAGED', 'The fetched envelope of the release has vanished.', {
    where: store.layout.incoming,
    remedy: 'Check the disk (smartctl, dmesg), then order the release again.',
  });
}

export async function selfTest(context: StepContext): Promise<StepSuccess> {
  const result = await context.serving.selfTest(await candidateOf(context), context.signal);
  return {
    reason: `golden vectors within ${result.worstDifference} on ${result.provider.actual}, ${result.latencyUs} µs`,
  };
}

/** Activates the candidate and believes only what the inference process says it has loaded. */
export async function activateCandidate(context: StepContext): Promise<{ candidate: InstalledModel; reason: string }> {
  const candidate = await candidateOf(context);
  const reason = await activateModel(context.serving, candidate, context.signal);
  return { candidate, reason };
}

/** @throws UpdateError UPDATE_UNEXPECTED_MODEL, or what serving threw */
export async function activateModel(serving: Serving, target: InstalledModel, signal: AbortSignal): Promise<string> {
  const running = await serving.activate(target, signal);
  if (running.loaded === target.loaded && running.release.digest === target.release.digest) {
    return `${target.model} ${target.release.version} serves on ${running.provider.actual}`;
  }
  throw new UpdateError(
    'UPDATE_UNEXPECTED_MODEL',
    `Serving has loaded ${running.loaded} of ${running.release.version}; asked for was ${target.loaded} of ${target.release.version}.`,
    { remedy: 'This is a defect in Drover. Report it with the log around this line.' },
  );
}

/** Watches the candidate until probation is decided. Its time begins here, also after a restart: the counts began anew with it. */
export async function observeProbation({ deployment, serving, clock, signal }: StepContext): Promise<StepSuccess> {
  const { model, probation, release } = deployment;
  const beganAtMs = clock.monotonic();
  for (;;) {
    signal.throwIfAborted();
    const elapsedMs = clock.monotonic() - beganAtMs;
    const verdict = judgeProbation(probation, serving.health(model), elapsedMs);
    if (verdict.kind === 'unhealthy') throw verdict.error;
    if (verdict.kind === 'healthy') {
      if (serving.running(model)?.release.digest === release.digest) return { reason: verdict.reason };
      // Between a crash and its restart nothing runs, and silence is no health.
      if (elapsedMs >= probation.maxMs) throw notRunning(deployment);
    }
    await clock.sleep(verdict.kind === 'healthy' ? 100 : verdict.nextLookMs, signal);
  }
}

const notRunning = ({ model, release }: Deployment) =>
  new UpdateError('PROBATION_NOT_RUNNING', `${model} ${release.version} was not running at the end of probation.`, {
    remedy: 'Look at the log of the inference process on the device, mend the model and publish a new release.',
  });
