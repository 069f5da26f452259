import { digestHex, type ModelName, type Version } from '@drover/shared/ids';
import { MAX_MANIFEST_BYTES, releaseLineOf } from '@drover/shared/manifest';
import { releasePath } from '@drover/shared/trust/ceremony';
import type { KeySet } from '@drover/shared/trust';
import {
  RepositoryClient,
  TufError,
  type MetadataFetcher,
  type RefreshOptions,
  type RepositoryStatus,
} from '@drover/shared/trust/tuf';
import { HostError } from '../host/index.js';
import type { ReleaseRef } from './accept.js';
import { UpdateError, type UpdateCode } from './errors.js';
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
  /** The same from somewhere else, such as a bundle: it only ever adds what is newer. @throws TufError */
  learn(from: MetadataFetcher, signal: AbortSignal): Promise<void>;
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

  /** The newest metadata that can be had, and then `look`, by the same word. @returns whose word, where it was not the control plane's */
  async function refreshed<Found>(look: (by: RefreshOptions) => Promise<Found>, signal: AbortSignal) {
    // One time for the whole update (TUF 1.0, section 5.1).
    const options: RefreshOptions = { fetcher, nowMs: nowMs(), signal };
    try {
      await client.refresh(options);
    } catch (error) {
      signal.throwIfAborted();
      // Only where it could not be asked: what the control plane says counts, also where it is bad news (docs/protocol.md, section 13, step 3).
      if (!(error instanceof UpdateError) || !error.retryable) throw error;
      for (const standIn of standIns()) {
        const found = await foundBy(standIn, look, options);
        if (found) return { found: found.value, by: standIn.name };
      }
      throw error;
    }
    return { found: await look(options), by: undefined };
  }

  /** Its yes counts, for it is signed; its no does not, for it may be old: undefined, and the control plane is asked again. */
  async function foundBy<Found>(
    standIn: MetadataStandIn,
    look: (by: RefreshOptions) => Promise<Found>,
    options: RefreshOptions,
  ): Promise<{ value: Found } | undefined> {
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(standIn.maxMs)]);
    const by = { ...options, fetcher: standIn.fetcher, signal };
    try {
      try {
        await client.refresh(by);
      } catch (error) {
        // It is behind what this device knows, and what this device knows still holds: no worse than if it had said the same.
        const isBehind = error instanceof TufError && error.code === 'TUF_ROLLBACK' && !client.status(by.nowMs).stale;
        if (!isBehind) throw error;
        standIn.refused(error);
      }
      return { value: await look(by) };
    } catch (error) {
      options.signal.throwIfAborted();
      // The disk of this device is nobody else's fault.
      if (error instanceof HostError) throw error;
      if (!(error instanceof UpdateError) || !NEGATIVE.has(error.code)) standIn.refused(error);
      return undefined;
    }
  }

  return {
    async confirm({ model: name, release }, signal) {
      const model = releaseLineOf(name);
      const path = releasePath(model, release.version);
      const look = async (options: RefreshOptions): Promise<string> => {
        const target = await client.target(path, options);
        if (!target) throw notListed(model, release.version);
        if (target.hashes['sha256'] !== digestHex(release.digest) || target.length > MAX_MANIFEST_BYTES)
          throw disagree(model, release, target.hashes['sha256']);
        return target.role;
      };
      const { found: role, by } = await refreshed(look, signal);
      const word = by === undefined ? '' : ` (by ${by}, for want of the control plane)`;
      return `listed by ${role}, root version ${client.root.version}${word}`;
    },
    async refresh(signal) {
      await refreshed(() => Promise.resolve(), signal);
    },
    learn: (from, signal) => client.refresh({ fetcher: from, nowMs: nowMs(), signal }),
    status: () => client.status(nowMs()),
    rootKeys: () => client.root.keySet,
  };
}

/** What publishers say about a release, by metadata that may be old. */
const NEGATIVE: ReadonlySet<string> = new Set<UpdateCode>(['RELEASE_NOT_LISTED', 'REPOSITORIES_DISAGREE']);

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
