import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex, type Digest } from '@drover/shared/ids';
import { allFiles, parseManifest } from '@drover/shared/manifest';
import { decodeEnvelope } from '@drover/shared/trust';
import { systemCode } from '../host/index.js';
import type { WriteGate } from './kill-points.js';
import { ENVELOPE_NAME, type ReleaseStore } from './store.js';

export interface Kept {
  /** Manifest digests of releases that are committed, previous or in progress. */
  readonly releases: ReadonlySet<Digest>;
  readonly adaptations: ReadonlySet<Digest>;
}

/**
 * Removes what nothing refers to. Synchronous on purpose: an update of another model that starts meanwhile could otherwise find a file that is
 * about to vanish. That update stores its envelope before it looks for files, so its files are among the kept ones here.
 */
export function collectGarbage(store: ReleaseStore, gate: WriteGate, kept: Kept): void {
  const { layout } = store;
  const releases = new Set([...kept.releases].map(digestHex));
  const adaptations = new Set([...kept.adaptations].map((digest) => `${digestHex(digest)}.onnx`));
  const blobs = new Set<string>();
  for (const hex of releases) {
    const envelope =
      readIfThere(join(layout.releases, hex, ENVELOPE_NAME)) ?? readIfThere(join(layout.incoming, `${hex}.dsse.json`));
    if (envelope) for (const blob of blobsOf(envelope)) blobs.add(blob);
  }
  const staged = new Set(readdirSync(layout.releases));
  gate.pass('collect');
  removeUnless(layout.releases, (name) => releases.has(name));
  removeUnless(layout.incoming, (name) => {
    const [hex = '', kind] = name.split('.');
    return kind === 'partial' ? blobs.has(hex) : releases.has(hex) && !staged.has(hex);
  });
  removeUnless(layout.blobs, (name) => blobs.has(name));
  removeUnless(layout.adaptations, (name) => adaptations.has(name));
}

/** The envelope was verified before it was stored; here it only says which files to spare. All variants count, which errs on the safe side. */
function blobsOf(envelope: Uint8Array): string[] {
  const manifest = parseManifest(Buffer.from(decodeEnvelope(envelope).payload, 'base64'));
  return allFiles(manifest).map(({ digest }) => digestHex(digest));
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
