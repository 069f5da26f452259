import { digestHex, type ModelName, type Version } from '@drover/shared/ids';
import { MAX_MANIFEST_BYTES } from '@drover/shared/manifest';
import { releasePath } from '@drover/shared/trust/ceremony';
import type { KeySet } from '@drover/shared/trust';
import { RepositoryClient, type MetadataFetcher, type RepositoryStatus } from '@drover/shared/trust/tuf';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';
import type { WriteGate } from './kill-points.js';
import { openMetadataCache } from './metadata-cache.js';

/** The publishers' half of an order: which bytes they stand by under a model and version, by the root that this device was given. */
export interface TrustedRepository {
  /**
   * Refreshes, and holds the order against what the publishers list now (docs/protocol.md, section 3).
   *
   * @returns what was found, for the record
   * @throws TufError; UpdateError RELEASE_NOT_LISTED, REPOSITORIES_DISAGREE, and FETCH_* of the fetcher
   */
  confirm(order: { readonly model: ModelName; readonly release: ReleaseRef }, signal: AbortSignal): Promise<string>;
  /** @throws TufError; what the fetcher throws */
  refresh(signal: AbortSignal): Promise<void>;
  status(): RepositoryStatus;
  /** Keys and threshold of the newest root that this device has verified. */
  rootKeys(): KeySet;
}

export interface TrustedRepositoryOptions {
  readonly dataDir: string;
  readonly gate: WriteGate;
  readonly pinnedRoot: Uint8Array;
  readonly fetcher: MetadataFetcher;
  /** The time by which expiry is judged: never before what a signed order has vouched for. */
  readonly nowMs: () => number;
}

/** @throws TufError TUF_ANCHOR_INVALID; HostError */
export function openTrustedRepository({
  dataDir,
  gate,
  pinnedRoot,
  fetcher,
  nowMs,
}: TrustedRepositoryOptions): TrustedRepository {
  const client = new RepositoryClient({ pinnedRoot, cache: openMetadataCache(dataDir, gate) });
  return {
    async confirm({ model, release }, signal) {
      // One time for the whole update (TUF 1.0, section 5.1).
      const options = { fetcher, nowMs: nowMs(), signal };
      await client.refresh(options);
      const path = releasePath(model, release.version);
      const target = await client.target(path, options);
      if (!target) throw notListed(model, release.version);
      if (target.hashes['sha256'] !== digestHex(release.digest) || target.length > MAX_MANIFEST_BYTES)
        throw disagree(model, release, target.hashes['sha256']);
      return `listed by ${target.role}, root version ${client.root.version}`;
    },
    refresh: (signal) => client.refresh({ fetcher, nowMs: nowMs(), signal }),
    status: () => client.status(nowMs()),
    rootKeys: () => client.root.keySet,
  };
}

const notListed = (model: ModelName, version: Version) =>
  new UpdateError('RELEASE_NOT_LISTED', `The publishers list no ${model} ${version}.`, {
    where: releasePath(model, version),
    remedy:
      'Publish it, or roll out another version. If nobody withdrew it, somebody orders what the publishers never signed: look at the control plane.',
  });

const disagree = (model: ModelName, { version, digest }: ReleaseRef, listed: string | undefined) =>
  new UpdateError(
    'REPOSITORIES_DISAGREE',
    `The order names ${digest} as ${model} ${version}; the publishers list sha256:${listed ?? 'nothing'}.`,
    {
      where: releasePath(model, version),
      remedy:
        'Somebody orders other bytes than the publishers signed: treat the control plane as broken into until this is explained.',
    },
  );
