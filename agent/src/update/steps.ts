import type { FileReference, Platform } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import { TufError } from '@drover/shared/trust/tuf';
import type { Clock } from '../host/index.js';
import type { Bandwidth, Priority } from './delivery/bandwidth.js';
import { deliverFile, type Delivery } from './delivery/deliver.js';
import { withRetries, type RetryBounds } from './download.js';
import { UpdateError } from './errors.js';
import type { ReleaseSource } from './fetch.js';
import { kindFor, type KindContext } from './kinds/index.js';
import type { Installed } from './ports.js';
import { judgeProbation } from './probation.js';
import { toReportableError } from './reportable.js';
import { openRelease, type ReleaseExpectation, type VerifiedRelease } from './release.js';
import type { TrustedRepository } from './trusted-repository.js';

/** What the steps of one update work with. */
export interface StepContext extends KindContext {
  readonly platform: Platform;
  readonly site: string | undefined;
  readonly repository: TrustedRepository;
  readonly source: ReleaseSource;
  readonly clock: Clock;
  readonly retry: RetryBounds;
  readonly bandwidth: Bandwidth;
}

/** What a successful step says for the record. */
export interface StepSuccess {
  readonly reason: string;
}

export const expectationOf = (
  { model, release, hardwareClass }: Pick<Deployment, 'model' | 'release' | 'hardwareClass'>,
  { platform, site }: Pick<StepContext, 'platform' | 'site'>,
): ReleaseExpectation => ({ model, release, hardwareClass, platform, site });

const candidateOf = (context: StepContext): Promise<Installed> =>
  context.store.load(expectationOf(context.deployment, context));

/** First what both repositories say, then the manifest: it decides what else is fetched, and how much. */
export async function fetchRelease(
  { source: shared, ...rest }: StepContext,
  wasCommitted: boolean,
): Promise<StepSuccess> {
  const accounted = shared.forUpdate?.();
  const context: StepContext = { ...rest, source: accounted ?? shared };
  const { deployment, store, source, signal } = context;
  const listed = await confirmListed(context, wasCommitted);
  const release = await openStoredOrFetchedManifest(context);
  const { files } = release;
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
  return { reason: [summary, ...said, ...(accounted?.account() ?? [])].join('; ') };
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
  const { deployment, store, signal } = context;
  const release = await openStored(context);
  for (const file of release.files) await store.verifyBlob(file, signal);
  const further = await kindFor(deployment.model).verify(release, expectationOf(deployment, context), context);
  return { reason: `the manifest and ${release.files.length} files have their digests${further}` };
}

export async function stageRelease(context: StepContext): Promise<StepSuccess> {
  const { deployment, store, signal } = context;
  await store.stage(await openStored(context), signal);
  return { reason: await kindFor(deployment.model).stage(await candidateOf(context), context) };
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
  return { reason: await kindFor(context.deployment.model).selfTest(await candidateOf(context), context) };
}

/** Puts the candidate in force and believes only the word of who runs it. */
export async function activateCandidate(context: StepContext): Promise<{ candidate: Installed; reason: string }> {
  const candidate = await candidateOf(context);
  return { candidate, reason: await kindFor(candidate.model).activate(candidate, context) };
}

/** Watches the candidate until probation is decided. Its time begins here, also after a restart: the counts began anew with it. */
export async function observeProbation(context: StepContext): Promise<StepSuccess> {
  const { deployment, clock, signal } = context;
  const { model, release } = deployment;
  const kind = kindFor(model);
  const beganAtMs = clock.monotonic();
  const { probation, contract, ...watch } = kind.watch(await candidateOf(context), context);
  for (;;) {
    signal.throwIfAborted();
    const broken = watch.broken();
    if (broken) throw broken;
    const elapsedMs = clock.monotonic() - beganAtMs;
    const over = watch.over(elapsedMs);
    if (over !== undefined) return { reason: over };
    const verdict = judgeProbation(probation, watch.health(), elapsedMs, contract);
    if (verdict.kind === 'unhealthy') throw verdict.error;
    if (verdict.kind === 'healthy') {
      const isRunning = kind.running(model, context)?.release.digest === release.digest;
      // Between a crash and its restart nothing runs, and silence is no health.
      const unfit = watch.unfit() ?? (isRunning ? undefined : notRunning(deployment));
      if (unfit === undefined) return { reason: `${verdict.reason}${await watch.testAgain()}` };
      if (elapsedMs >= probation.maxMs) throw unfit;
    }
    await clock.sleep(verdict.kind === 'healthy' ? 100 : verdict.nextLookMs, signal);
  }
}

const notRunning = ({ model, release }: Deployment) =>
  new UpdateError('PROBATION_NOT_RUNNING', `${model} ${release.version} was not running at the end of probation.`, {
    remedy: 'Look at the log of the inference process on the device, mend the model and publish a new release.',
  });
