import { digestOf, type Digest, type ModelName } from '@drover/shared/ids';
import { parseRelease, releaseLineOf, type FileReference, type ReleaseManifest } from '@drover/shared/manifest';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';
import { kindFor, type DeviceFacts } from './kinds/index.js';

/** A release whose manifest has the digest that the order names, which its publishers have listed. */
export interface VerifiedRelease {
  readonly release: ReleaseRef;
  readonly manifest: ReleaseManifest;
  /** Every file that this device needs under its own path: unlike `filesFor`, equal contents under two paths are two entries. */
  readonly files: readonly FileReference[];
  readonly manifestBytes: Uint8Array;
}

export interface ReleaseExpectation extends DeviceFacts {
  /** As it stands in the order. */
  readonly model: ModelName;
  readonly release: ReleaseRef;
}

/**
 * Opens a release (docs/protocol.md, section 3): first that these bytes are the ones that the director ordered and the publishers listed under
 * the same digest, and only then the parser. On the disk, the digest in the journal stands for both.
 *
 * @throws ManifestError, UpdateError RELEASE_DIGEST_MISMATCH, RELEASE_NOT_AS_ORDERED
 */
export function openRelease(manifestBytes: Uint8Array, expected: ReleaseExpectation): VerifiedRelease {
  const digest = digestOf(manifestBytes);
  if (digest !== expected.release.digest) {
    throw new UpdateError(
      'RELEASE_DIGEST_MISMATCH',
      `The manifest is ${digest}; ordered was ${expected.release.digest}.`,
      {
        remedy:
          'The server gave out another release than the director ordered. Check the registry of the control plane.',
      },
    );
  }
  const manifest = parseRelease(manifestBytes);
  const line = releaseLineOf(expected.model);
  if (manifest.model !== line || manifest.version !== expected.release.version) {
    throw notAsOrdered(
      `The manifest is ${manifest.model} ${manifest.version}; ordered was ${line} ${expected.release.version}.`,
    );
  }
  // The name says the kind, and the parser has held the manifest to it.
  const files = kindFor(expected.model).files(manifest, expected);
  verifyPaths(files);
  return { release: expected.release, manifest, files, manifestBytes };
}

/** Two contents cannot lie under one path, nor a file where another one needs a folder. */
function verifyPaths(files: readonly FileReference[]): void {
  const digests = new Map<string, Digest>();
  for (const { path, digest } of files) {
    const other = digests.get(path);
    if (other !== undefined && other !== digest)
      throw notAsOrdered(`The manifest names two different files "${path}".`);
    digests.set(path, digest);
  }
  for (const path of digests.keys()) {
    const parent = [...digests.keys()].find((other) => path.startsWith(`${other}/`));
    if (parent !== undefined) throw notAsOrdered(`The manifest uses "${parent}" both as a file and as a folder.`);
  }
}

const notAsOrdered = (what: string) =>
  new UpdateError('RELEASE_NOT_AS_ORDERED', what, {
    remedy: 'Publish a correct release under a new version and roll that out.',
  });
