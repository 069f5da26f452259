import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import type { Digest } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import { backoffMs, systemCode, toWriteError, type BackoffBounds, type Clock } from '../host/index.js';
import { paced, RateWatch, type Bandwidth, type Priority } from './delivery/bandwidth.js';
import { UpdateError, type UpdateCode } from './errors.js';
import type { ReleaseSource } from './fetch.js';
import type { ReleaseStore } from './store.js';

export interface RetryBounds extends BackoffBounds {
  /** Time without a single new byte after which the device gives up. */
  readonly giveUpAfterMs: number;
}

export interface DownloadOptions {
  readonly source: ReleaseSource;
  readonly store: ReleaseStore;
  readonly clock: Clock;
  readonly retry: RetryBounds;
  readonly bandwidth: Bandwidth;
  readonly priority: Priority;
  readonly signal: AbortSignal;
}

/**
 * Repeats `attempt` while it fails in a way that may pass, with growing pauses; progress (a new value of `progress()`) starts the count anew.
 */
export async function withRetries<Result>(
  { clock, retry, signal }: Pick<DownloadOptions, 'clock' | 'retry' | 'signal'>,
  attempt: () => Promise<Result>,
  progress: () => number = () => 0,
): Promise<Result> {
  let lastProgress = progress();
  let lastProgressAtMs = clock.monotonic();
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof UpdateError) || !error.retryable) throw error;
      if (progress() !== lastProgress) {
        lastProgress = progress();
        lastProgressAtMs = clock.monotonic();
        failures = 0;
      }
      if (clock.monotonic() - lastProgressAtMs >= retry.giveUpAfterMs) throw error;
      await clock.sleep(backoffMs(retry, failures), signal);
    }
  }
}

/**
 * Brings one file into the store: resumes a partial file (also after a restart, by hashing again what is there), hashes while streaming,
 * never writes more than the manifest allows.
 *
 * @returns the bytes that came
 * @throws UpdateError FETCH_*; HostError HOST_DISK_FULL
 */
export async function downloadBlob(reference: FileReference, options: DownloadOptions): Promise<number> {
  const { store, signal } = options;
  let received = 0;
  await withRetries(
    options,
    () =>
      askingOthers(options, reference.digest, async () => {
        const resumedAt = await streamToPartial(reference, options, (bytes) => (received += bytes));
        // A power cut may have left garbage in a partial file: only a file that came in one piece proves that the server lies.
        if (resumedAt === 'mismatch-after-resume')
          await streamToPartial(reference, options, (bytes) => (received += bytes));
      }),
    () => received,
  );
  signal.throwIfAborted();
  await store.adoptPartial(reference.digest);
  return received;
}

/** What a file that does not hold says about its server. */
const DISOWNED: ReadonlySet<UpdateCode> = new Set(['FETCH_DIGEST_MISMATCH', 'FETCH_TOO_LARGE', 'FETCH_INTERRUPTED']);

/** Repeats `attempt` as long as what came does not hold and somebody else can be asked: each time it is one less (docs/protocol.md, section 13, step 4). */
export async function askingOthers(
  { source }: Pick<DownloadOptions, 'source'>,
  digest: Digest,
  attempt: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (!(error instanceof UpdateError) || !DISOWNED.has(error.code) || !source.disown?.(digest, error)) throw error;
    }
  }
}

async function streamToPartial(
  { digest, bytes: expectedBytes, path }: FileReference,
  { source, store, bandwidth, priority, signal }: DownloadOptions,
  onBytes: (bytes: number) => void,
): Promise<'whole' | 'mismatch-after-resume'> {
  const file = store.partialFile(digest);
  if ((await sizeOf(file)) > expectedBytes) await store.discardPartial(digest);
  const { hash, bytes: resumedAt } = await hashOf(file, signal);
  let size = resumedAt;
  const handle = await openForAppend(file);
  const lane = bandwidth.enter(priority);
  const watch = new RateWatch(bandwidth.limits.minBytesPerSecond);
  try {
    if (size < expectedBytes) {
      const chunks = source.blob(digest, size, signal);
      for await (const chunk of source.isLocal?.(digest) ? chunks : paced(chunks, { lane, watch, signal })) {
        size += chunk.length;
        if (size > expectedBytes) break;
        store.passPartialWrite(digest);
        await append(handle, chunk, file);
        hash.update(chunk);
        onBytes(chunk.length);
      }
    }
  } finally {
    lane.leave();
    await handle.close();
  }
  if (size > expectedBytes) {
    await store.discardPartial(digest);
    throw new UpdateError(
      'FETCH_TOO_LARGE',
      `"${path}" is larger than the ${expectedBytes} bytes that the manifest states.`,
      {
        remedy: 'The server does not give out what was published. Check the storage of the control plane.',
      },
    );
  }
  if (size < expectedBytes) {
    throw new UpdateError('FETCH_INTERRUPTED', `"${path}" ended after ${size} of ${expectedBytes} bytes.`, {
      remedy: 'The device goes on from there by itself. If it stays so, check the network.',
    });
  }
  if (`sha256:${hash.digest('hex')}` === digest) return 'whole';
  await store.discardPartial(digest);
  if (resumedAt > 0) return 'mismatch-after-resume';
  throw new UpdateError('FETCH_DIGEST_MISMATCH', `The bytes of "${path}" are not those that the publisher signed.`, {
    remedy:
      'The file was changed on the server or on its way. Publish the release again from the source, and look for who changed it.',
  });
}

async function hashOf(file: string, signal: AbortSignal): Promise<{ hash: Hash; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  if ((await sizeOf(file)) > 0) {
    for await (const chunk of createReadStream(file, { signal }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  }
  return { hash, bytes };
}

async function openForAppend(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'a');
  } catch (error) {
    throw toWriteError(error, file);
  }
}

async function append(handle: FileHandle, chunk: Uint8Array, file: string): Promise<void> {
  try {
    await handle.appendFile(chunk);
  } catch (error) {
    throw toWriteError(error, file);
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0;
    throw error;
  }
}
