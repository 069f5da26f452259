import { digestOf, type Digest, type ModelName } from '@drover/shared/ids';
import {
  agentVariantFor,
  isAgentManifest,
  parseRelease,
  variantFor,
  type AgentVariant,
  type FileReference,
  type Platform,
  type ReleaseManifest,
  type Variant,
} from '@drover/shared/manifest';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';

/** A release whose manifest has the digest that the order names, which its publishers have listed. */
export interface VerifiedRelease {
  readonly release: ReleaseRef;
  readonly manifest: ReleaseManifest;
  readonly variant: Variant | AgentVariant;
  readonly manifestBytes: Uint8Array;
}

export interface ReleaseExpectation {
  readonly model: ModelName;
  readonly release: ReleaseRef;
  /** Decides which variant of a model is meant. */
  readonly hardwareClass: string;
  /** Decides which bundle of an agent is meant. */
  readonly platform: Platform;
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
  if (manifest.model !== expected.model || manifest.version !== expected.release.version) {
    throw notAsOrdered(
      `The manifest is ${manifest.model} ${manifest.version}; ordered was ${expected.model} ${expected.release.version}.`,
    );
  }
  const variant = isAgentManifest(manifest)
    ? agentVariantFor(manifest, expected.platform)
    : variantFor(manifest, expected.hardwareClass);
  verifyPaths(filesOf(manifest, variant));
  return { release: expected.release, manifest, variant, manifestBytes };
}

/** Every file under its own path: unlike `filesFor`, equal contents under two paths are two entries. */
export function filesOf(manifest: ReleaseManifest, variant: Variant | AgentVariant): FileReference[] {
  if (isAgentManifest(manifest) || 'bundle' in variant) return 'bundle' in variant ? [variant.bundle] : [];
  const files = [variant.model, manifest.goldenVectors, ...manifest.assets.map(({ file }) => file)];
  return manifest.referenceProfile ? [...files, manifest.referenceProfile] : files;
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
