import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type Digest } from '@drover/shared/ids';
import { allFiles, ManifestError, parseRelease } from '@drover/shared/manifest';
import { systemCode } from '../host/index.js';
import type { WriteGate } from './kill-points.js';
import { MANIFEST_NAME, type ReleaseStore } from './store.js';

export interface Kept {
  /** Manifest digests of releases that are committed, previous or in progress. */
  readonly releases: ReadonlySet<Digest>;
  readonly adaptations: ReadonlySet<Digest>;
}

/**
 * Removes what nothing refers to. Synchronous on purpose: an update of another model that starts meanwhile could otherwise find a file that is
 * about to vanish. That update stores its manifest before it looks for files, so its files are among the kept ones here.
 */
export function collectGarbage(store: ReleaseStore, gate: WriteGate, kept: Kept): void {
  const { layout } = store;
  const releases = new Set([...kept.releases].map(digestHex));
  const adaptations = new Set([...kept.adaptations].map((digest) => `${digestHex(digest)}.onnx`));
  const blobs = new Set<string>();
  for (const hex of releases) {
    for (const file of [join(layout.releases, hex, MANIFEST_NAME), join(layout.incoming, `${hex}.json`)]) {
      for (const blob of blobsOf(readIfThere(file))) blobs.add(blob);
    }
  }
  const staged = new Set(readdirSync(layout.releases));
  gate.pass('collect');
  // Another model's update may be building its folder right now.
  removeUnless(layout.releases, (name) => releases.has(name.replace(/\.tmp$/, '')));
  removeUnless(layout.incoming, (name) => {
    const [hex = '', kind] = name.split('.');
    return DOWNLOADS.has(kind ?? '') ? blobs.has(hex) : releases.has(hex) && !staged.has(hex);
  });
  removeUnless(layout.blobs, (name) => blobs.has(name));
  removeUnless(layout.adaptations, (name) => adaptations.has(name));
}

/** What a download in progress keeps under the digest of its file. */
const DOWNLOADS = new Set(['partial', 'spool', 'directory']);

/**
 * The manifest was verified before it was stored; here it only says which files to spare. All variants count, which errs on the safe side. One that
 * was damaged since spares none: a release without its manifest can't be loaded, and is fetched again when it is ordered again.
 */
function blobsOf(manifestBytes: Uint8Array | undefined): string[] {
  if (!manifestBytes) return [];
  try {
    return allFiles(parseRelease(manifestBytes)).map(({ digest }) => digestHex(digest));
  } catch (error) {
    if (error instanceof ManifestError) return [];
    throw error;
  }
}

function removeUnless(folder: string, isKept: (name: string) => boolean): void {
  for (const name of readdirSync(folder)) {
    if (!isKept(name)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function readIfThere(file: string): Uint8Array | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
