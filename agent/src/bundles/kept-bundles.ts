import { readdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '@drover/shared/ids';
import { BUILD_FLOOR_MS, makeDirectoryDurably, syncDirectory } from '../host/index.js';
import type { Origin } from '../sources/index.js';
import { openBundle, type BundleFile } from './bundle-file.js';
import { bundleOrigin } from './bundle-origin.js';

/** More than this many at once, and the oldest goes. */
const MAX_KEPT = 3;
/** What nobody ordered in this time is in the way. */
const MAX_AGE_MS = 60 * 86_400_000;

interface Kept {
  readonly path: string;
  readonly bundle: BundleFile;
  readonly origin: Origin;
}

/** Bundles that were imported and may still be of use: until what they bring runs here. */
export class KeptBundles {
  readonly #folder: string;
  readonly #onIncident: (error: unknown) => void;
  #kept: Kept[] = [];

  private constructor(folder: string, onIncident: (error: unknown) => void) {
    this.#folder = folder;
    this.#onIncident = onIncident;
  }

  /** One that cannot be read any more is removed, and told: nothing depends on it. */
  static async open(folder: string, onIncident: (error: unknown) => void): Promise<KeptBundles> {
    await makeDirectoryDurably(folder);
    const kept = new KeptBundles(folder, onIncident);
    for (const name of (await readdir(folder)).sort()) {
      const path = join(folder, name);
      try {
        kept.hold(path, await openBundle(path));
      } catch (error) {
        onIncident(error);
        await rm(path, { force: true });
      }
    }
    return kept;
  }

  /** Newest first. */
  origins(): Origin[] {
    return this.#kept.map(({ origin }) => origin);
  }

  /** From now on it is asked. It may lie anywhere; `adopt` moves it in. */
  hold(path: string, bundle: BundleFile): void {
    this.#kept.unshift({ path, bundle, origin: bundleOrigin(bundle, this.#onIncident) });
  }

  async adopt(from: string, bundle: BundleFile): Promise<void> {
    const { digest } = bundle.contents.release;
    const path = join(this.#folder, `${String(Date.now()).padStart(15, '0')}-${digest.slice('sha256:'.length)}.bundle`);
    await utimes(from, new Date(), new Date());
    await rename(from, path);
    await syncDirectory(this.#folder);
    this.#kept = this.#kept.map((kept) => (kept.bundle === bundle ? { ...kept, path } : kept));
  }

  /** Nothing was taken from it: it stays where it lies, for another try. */
  async forget(bundle: BundleFile): Promise<void> {
    this.#kept = this.#kept.filter((kept) => kept.bundle !== bundle);
    await bundle.close();
  }

  async drop(bundle: BundleFile): Promise<void> {
    const [gone] = this.#kept.filter((kept) => kept.bundle === bundle);
    await this.forget(bundle);
    if (gone) await rm(gone.path, { force: true });
  }

  /** @param isDone the release runs here, and no update needs its bytes any more */
  async prune(isDone: (release: Digest) => boolean, nowMs: number): Promise<void> {
    const seen = new Set<Digest>();
    for (const [position, { bundle }] of [...this.#kept.entries()]) {
      const { digest } = bundle.contents.release;
      // One that came while the clock said 1970 has no age that could be told.
      const isOld = bundle.modifiedAtMs > BUILD_FLOOR_MS && nowMs - bundle.modifiedAtMs > MAX_AGE_MS;
      if (isDone(digest) || isOld || seen.has(digest) || position >= MAX_KEPT) await this.drop(bundle);
      seen.add(digest);
    }
  }

  async close(): Promise<void> {
    for (const { bundle } of this.#kept.splice(0)) await bundle.close();
  }
}
