import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { orderEntry, RECOVERY_ENTRY } from '@drover/shared/bundle';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import type { DeviceId, Digest } from '@drover/shared/ids';
import { TufError, type MetadataFetcher } from '@drover/shared/trust/tuf';
import { makeDirectoryDurably, systemCode, writeDurably } from '../host/index.js';
import type { Origin } from '../sources/index.js';
import type { Receipt } from '../update/index.js';
import { ANSWER_SUFFIX, IMPORT_SUFFIX, importFolder, type ImportAnswer, type ImportOutcome } from './answer.js';
import { openBundle, type BundleFile } from './bundle-file.js';
import { metadataOf } from './bundle-origin.js';
import { KeptBundles } from './kept-bundles.js';

export interface ImportsOptions {
  readonly dataDir: string;
  readonly deviceId: DeviceId;
  /** The parts of the updater that a bundle meets: the same as what comes over the network. */
  readonly updater: () => {
    learn(fetcher: MetadataFetcher, signal: AbortSignal): Promise<void>;
    receive(document: Uint8Array, options: { readonly broughtByHand: true }): Promise<Receipt>;
    /** The release runs here, and no update of its model is in progress. */
    isDone(release: Digest): boolean;
  };
  readonly onImported: (answer: ImportAnswer) => void;
  readonly onIncident: (error: unknown) => void;
}

export interface Imports {
  /** Bundles that were imported, newest first. */
  origins(): Origin[];
  /** Takes in what was brought since the last look. */
  look(): Promise<void>;
  /** Breaks off a look that is under way. */
  stop(): Promise<void>;
  /** After the updater, which may still be reading from one. */
  close(): Promise<void>;
}

/** An answer that nobody fetched in this time is for nobody. */
const LEFTOVER_AGE_MS = 3_600_000;
const RETRY_MS = 60_000;

/**
 * Watches the folder into which `drover-agent import` puts bundles (docs/protocol.md, section 13, steps 8 to 11).
 *
 * INVARIANT: a bundle is read whole and found undamaged before anything of it is used; it stays where it was put until all of it was taken in, so that
 * a stop in between does it once more, which changes nothing.
 */
export async function openImports(options: ImportsOptions): Promise<Imports> {
  const { dataDir, onIncident } = options;
  const folder = importFolder(dataDir);
  await makeDirectoryDurably(folder);
  const kept = await KeptBundles.open(join(dataDir, 'bundles'), onIncident);
  const closing = new AbortController();
  let notBeforeMs = 0;

  async function importOne(path: string): Promise<ImportAnswer> {
    let bundle: BundleFile | undefined;
    try {
      bundle = await openBundle(path);
      await bundle.verify(closing.signal);
    } catch (error) {
      await bundle?.close();
      closing.signal.throwIfAborted();
      onIncident(error);
      await rm(path, { force: true });
      return { error: toCodedErrorJson(error) };
    }
    kept.hold(path, bundle);
    try {
      const answer = await takeIn(bundle, options, closing.signal);
      await kept.adopt(path, bundle);
      return answer;
    } catch (error) {
      await kept.forget(bundle);
      throw error;
    }
  }

  return {
    origins: () => kept.origins(),
    async look() {
      if (performance.now() < notBeforeMs) return;
      // In case it throws: what cannot be stored now, on a full disk for example, is tried again later.
      notBeforeMs = performance.now() + RETRY_MS;
      const names = await readdir(folder);
      for (const name of names.filter((each) => each.endsWith(IMPORT_SUFFIX)).sort()) {
        const path = join(folder, name);
        const answer = await importOne(path);
        options.onImported(answer);
        await writeDurably(path.replace(/\.bundle$/, ANSWER_SUFFIX), JSON.stringify(answer));
      }
      // Answers that nobody fetched, and copies that were broken off.
      for (const name of names.filter((each) => !each.endsWith(IMPORT_SUFFIX))) await removeOld(join(folder, name));
      await kept.prune((release) => options.updater().isDone(release), Date.now());
      notBeforeMs = 0;
    },
    stop() {
      closing.abort(new Error('The agent stops.'));
      return Promise.resolve();
    },
    close: () => kept.close(),
  };
}

/** Metadata, then the statement that may change who orders, then the order: each depends on the one before. */
async function takeIn(
  bundle: BundleFile,
  { deviceId, updater }: ImportsOptions,
  signal: AbortSignal,
): Promise<ImportAnswer> {
  const to = updater();
  const take = async (name: string): Promise<ImportOutcome> => {
    const document = await bundle.document(name);
    if (!document) return { result: 'none' };
    const receipt = await to.receive(document, { broughtByHand: true });
    if (receipt.kind === 'refused') return { result: 'refused', error: receipt.error };
    return { result: receipt.kind === 'known' ? 'known' : 'taken' };
  };
  const metadata = await learned(() => to.learn(metadataOf(bundle), signal));
  const recovery = await take(RECOVERY_ENTRY);
  const order = await take(orderEntry(deviceId));
  return { release: bundle.contents.release, metadata, recovery, order };
}

/** What is older than what the device knows is no fault of the bundle: it has lain about. */
async function learned(learn: () => Promise<void>): Promise<ImportOutcome> {
  try {
    await learn();
    return { result: 'taken' };
  } catch (error) {
    if (error instanceof TufError && error.code === 'TUF_ROLLBACK') return { result: 'known' };
    if (!(error instanceof TufError)) throw error;
    return { result: 'refused', error: toCodedErrorJson(error) };
  }
}

async function removeOld(file: string): Promise<void> {
  try {
    if (Date.now() - (await stat(file)).mtimeMs > LEFTOVER_AGE_MS) await rm(file, { force: true });
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
