import { readFile } from 'node:fs/promises';
import {
  decodeChunkIndex,
  decodePackDirectory,
  DeliveryError,
  maxDirectoryBytes,
  type ChunkIndex,
  type PackDirectory,
} from '@drover/shared/delivery';
import type { Digest } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import { backoffMs } from '../../host/index.js';
import { askingOthers, downloadBlob, withRetries, type DownloadOptions } from '../download.js';
import { UpdateError, type UpdateCode } from '../errors.js';
import { assemble, countWholeChunks, WRONG_FRAME } from './assemble.js';
import { paced, RateWatch } from './bandwidth.js';
import { FrameStream } from './frame-stream.js';
import { localFiles } from './local-files.js';
import { bytesToFetch, chooseBase, planDelivery, type DeliveryFacts, type LocalFile } from './plan.js';
import { fileSpool } from './spool.js';

/** How a file came, for the record. */
export interface Delivery {
  readonly path: string;
  /** Of the file. */
  readonly bytes: number;
  /** Received for it: index, directory and frames, also in vain. */
  readonly received: number;
  /** What was used: chunks of files that were here, frames, a delta; or why not. */
  readonly how: string;
}

type IndexedFile = FileReference & Required<Pick<FileReference, 'index'>>;

/** The pack was dropped from the cache of the control plane, or is shorter than its directory says: the rest comes plain. */
const PACK_FAILURES: ReadonlySet<UpdateCode> = new Set(['FETCH_NOT_FOUND', 'FETCH_ANSWER_INVALID', 'FETCH_TOO_LARGE']);

/** How often a control plane that is still compressing is asked before the plain file is fetched. */
const DIRECTORY_ATTEMPTS = 6;

/**
 * Brings one file into the store, from what lies on this disk, from compressed chunks and deltas, and from the plain file, in this order, and never
 * with more bytes than the plain file has.
 *
 * @throws UpdateError FETCH_*; HostError HOST_DISK_FULL
 */
export async function deliverFile(reference: FileReference, options: DownloadOptions): Promise<Delivery> {
  const { path, bytes } = reference;
  if (!isIndexed(reference) || !options.source.readBlob) {
    return { path, bytes, received: await downloadBlob(reference, options), how: 'as a whole' };
  }
  return deliverChunks(reference, options);
}

const isIndexed = (reference: FileReference): reference is IndexedFile => reference.index !== undefined;

async function deliverChunks(reference: IndexedFile, options: DownloadOptions): Promise<Delivery> {
  const { path, bytes, digest } = reference;
  const { store, signal } = options;
  const { index, received: indexBytes } = await fetchIndex(reference, options);
  const file = store.partialFile(digest);
  const local = (await localFiles(store.layout.blobs)).filter((other) => other.file !== digest);
  const done = await countWholeChunks(index, file, signal);
  const base = chooseBase(index, local);
  const facts: DeliveryFacts = { index, done, local };
  const offer = await fetchOffer(reference, facts, base, options);
  const progress = { received: indexBytes + offer.received, done, fallbacks: new Set(offer.why) };
  let directory = offer.directory;
  await withRetries(
    options,
    async () => {
      const attempt = () => assembleOnce({ ...facts, done: progress.done, directory }, reference, options, progress);
      try {
        await askingOthers(options, digest, attempt);
      } catch (error) {
        if (!(error instanceof UpdateError) || !PACK_FAILURES.has(error.code) || !directory) throw error;
        directory = undefined;
        progress.fallbacks.add('the pack is gone or damaged');
        await askingOthers(options, digest, attempt);
      }
    },
    () => progress.received,
  );
  signal.throwIfAborted();
  await store.adoptPartial(digest);
  const how = [directory ? nameOf(directory) : 'plain chunks', ...progress.fallbacks].join('; ');
  return { path, bytes, received: progress.received, how };
}

const nameOf = ({ base }: PackDirectory): string =>
  base === undefined ? 'compressed' : `delta to ${base.slice(0, 19)}`;

async function fetchIndex({ path, digest, bytes, index }: IndexedFile, options: DownloadOptions) {
  const { store, signal } = options;
  const reference = { path: `${path}.chunks`, ...index };
  const received = (await store.hasIntactBlob(reference, signal)) ? 0 : await downloadBlob(reference, options);
  const content = await readFile(store.blobFile(index.digest));
  const decoded = decodeChunkIndex(content);
  if (decoded.file === digest && decoded.bytes === bytes) return { index: decoded, received };
  throw new UpdateError('FETCH_DIGEST_MISMATCH', `The chunk index of "${path}" is that of another file.`, {
    remedy: 'Publish the release again under a new version.',
  });
}

/** What the control plane offers compressed, if that is less than the plain chunks; the directory itself counts. */
async function fetchOffer(
  { digest, index: { digest: target } }: IndexedFile,
  facts: DeliveryFacts,
  base: LocalFile | undefined,
  options: DownloadOptions,
): Promise<{ directory?: PackDirectory; received: number; why: string[] }> {
  const plainBytes = bytesToFetch(planDelivery(facts));
  const { source } = options;
  if (plainBytes === 0 || !source.packDirectory || source.isLocal?.(digest)) return { received: 0, why: [] };
  const maxBytes = maxDirectoryBytes(facts.index.chunks.length);
  let received = 0;
  const why: string[] = [];
  for (const against of base ? [base, undefined] : [undefined]) {
    const expected = { index: facts.index, target, base: against };
    const stored = await options.store.readDirectory(digest);
    let directory = stored && readDirectory(stored, expected);
    // A mirror may give nonsense: then somebody else is asked, until nobody is left.
    for (let isAsking = directory === undefined; isAsking;) {
      const content = await askForDirectory({ target, base: against?.index, maxBytes }, options);
      received += content?.length ?? 0;
      directory = content && readDirectory(content, expected);
      if (content && directory) await options.store.storeDirectory(digest, content);
      isAsking = content !== undefined && !directory && options.source.disown?.(target) === true;
    }
    if (!directory) {
      why.push(against ? 'no delta to be had' : 'no compressed chunks to be had');
      continue;
    }
    if (bytesToFetch(planDelivery({ ...facts, directory })) + received >= plainBytes) {
      why.push('compressing would not save anything');
      continue;
    }
    return { directory, received, why };
  }
  return { received, why };
}

function readDirectory(
  content: Uint8Array,
  expected: { index: ChunkIndex; target: Digest; base: LocalFile | undefined },
): PackDirectory | undefined {
  try {
    return decodePackDirectory(content, expected);
  } catch (error) {
    if (error instanceof DeliveryError) return undefined;
    throw error;
  }
}

/** undefined when there is none to be had: compression is a saving and never a reason to fail. */
async function askForDirectory(
  request: { target: Digest; base: Digest | undefined; maxBytes: number },
  { source, clock, retry, signal }: DownloadOptions,
): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < DIRECTORY_ATTEMPTS; attempt++) {
    try {
      return await source.packDirectory?.(request, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof UpdateError)) throw error;
      if (!error.retryable) return undefined;
      await clock.sleep(backoffMs(retry, attempt), signal);
    }
  }
  return undefined;
}

async function assembleOnce(
  facts: DeliveryFacts,
  { digest }: IndexedFile,
  { source, store, bandwidth, priority, signal }: DownloadOptions,
  progress: { received: number; done: number; fallbacks: Set<string> },
): Promise<void> {
  const lane = bandwidth.enter(priority);
  const watch = new RateWatch(bandwidth.limits.minBytesPerSecond);
  const frames = new FrameStream({
    readRange: ({ kind, digest: from }, range) => {
      const chunks = kind === 'pack' ? source.pack?.(from, range, signal) : source.readBlob?.(from, range, signal);
      if (!chunks) throw new Error('This source has no ranges.');
      return source.isLocal?.(from) ? chunks : paced(chunks, { lane, watch, signal });
    },
    spool: fileSpool(store.spoolFile(digest), () => store.passDelivery('spool', digest)),
    onBytes: (bytes) => (progress.received += bytes),
  });
  try {
    await assemble(planDelivery(facts), {
      index: facts.index,
      file: store.partialFile(digest),
      frames,
      localFile: store.blobFile,
      passWrite: (name) => store.passDelivery(name, digest),
      onChunk: () => (progress.done += 1),
      onFallback: (why) => {
        progress.fallbacks.add(why);
        // Perhaps the base on this disk is what is wrong, so nobody is blamed for it.
        if (why === WRONG_FRAME && facts.directory) source.disown?.(facts.directory.pack);
      },
      signal,
    });
  } finally {
    lane.leave();
  }
}
