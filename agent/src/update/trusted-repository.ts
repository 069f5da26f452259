import { digestHex, type ModelName, type Version } from '@drover/shared/ids';
import { MAX_MANIFEST_BYTES } from '@drover/shared/manifest';
import { releasePath } from '@drover/shared/trust/ceremony';
import type { KeySet } from '@drover/shared/trust';
import {
  RepositoryClient,
  TufError,
  type MetadataFetcher,
  type RefreshOptions,
  type RepositoryStatus,
} from '@drover/shared/trust/tuf';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';
import type { MetadataStandIn } from './fetch.js';
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
  readonly standIns?: () => readonly MetadataStandIn[];
  /** The time by which expiry is judged: never before what a signed order has vouched for. */
  readonly nowMs: () => number;
}

/** @throws TufError TUF_ANCHOR_INVALID; HostError */
export function openTrustedRepository({
  dataDir,
  gate,
  pinnedRoot,
  fetcher,
  standIns = () => [],
  nowMs,
}: TrustedRepositoryOptions): TrustedRepository {
  const client = new RepositoryClient({ pinnedRoot, cache: openMetadataCache(dataDir, gate) });

  /** @returns who was asked in the end, where it was not the control plane */
  async function refresh(options: RefreshOptions): Promise<MetadataStandIn | undefined> {
    try {
      await client.refresh(options);
      return undefined;
    } catch (error) {
      options.signal.throwIfAborted();
      // Only where it could not be asked: what the control plane says counts, also where it is bad news (docs/protocol.md, section 13, step 3).
      if (!(error instanceof UpdateError) || !error.retryable) throw error;
      for (const standIn of standIns()) if (await refreshBy(standIn, options)) return standIn;
      throw error;
    }
  }

  async function refreshBy(standIn: MetadataStandIn, options: RefreshOptions): Promise<boolean> {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(standIn.maxMs)]);
    try {
      await client.refresh({ ...options, fetcher: standIn.fetcher, signal });
      return true;
    } catch (error) {
      options.signal.throwIfAborted();
      standIn.refused(error);
      // It is behind what this device knows, and what this device knows still holds: no worse than if it had said the same.
      return error instanceof TufError && error.code === 'TUF_ROLLBACK' && !client.status(options.nowMs).stale;
    }
  }
  return {
    async confirm({ model, release }, signal) {
      // One time for the whole update (TUF 1.0, section 5.1).
      const options = { fetcher, nowMs: nowMs(), signal };
      const standIn = await refresh(options);
      const path = releasePath(model, release.version);
      const target = await client.target(path, standIn ? { ...options, fetcher: standIn.fetcher } : options);
      if (!target) throw notListed(model, release.version);
      if (target.hashes['sha256'] !== digestHex(release.digest) || target.length > MAX_MANIFEST_BYTES)
        throw disagree(model, release, target.hashes['sha256']);
      const by = standIn ? ` (by ${standIn.name}, for want of the control plane)` : '';
      return `listed by ${target.role}, root version ${client.root.version}${by}`;
    },
    async refresh(signal) {
      await refresh({ fetcher, nowMs: nowMs(), signal });
    },
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
