import type { KeySet } from '../keys.js';
import { fetchExisting, fetchListed, fetchMetadata } from './bounded-fetch.js';
import { expiryError, verifyNotExpired } from './checks.js';
import { cacheNameOf, readCachedRole, verifyRole, type Delegation } from './delegated-role.js';
import { searchTarget } from './delegation-search.js';
import type { MetaFile, Targets } from './documents.js';
import { TufError } from './errors.js';
import { toKeySet } from './keys.js';
import { rootFileName, servedFileName } from './names.js';
import { expiresAtMs } from './parse.js';
import { DEFAULT_LIMITS, type MetadataCache, type MetadataFetcher, type TufLimits } from './ports.js';
import { missingPart, repositoryStatus, type RepositoryStatus } from './status.js';
import type { TargetFile } from './target-file.js';
import { isListed, TrustedMetadata } from './trusted-metadata.js';

export interface RepositoryClientOptions {
  /** The root.json that the device was given out of band; it is verified, and so is each step from it to the cached one. */
  readonly pinnedRoot: Uint8Array;
  readonly cache: MetadataCache;
  readonly limits?: Partial<TufLimits>;
}

export interface RefreshOptions {
  readonly fetcher: MetadataFetcher;
  /** The time by which expiry is judged, in milliseconds since 1970: fixed for the whole update (TUF 1.0, section 5.1). */
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** What a root vouches for beyond the repository itself. */
export interface TrustedRoot {
  readonly version: number;
  readonly expiresAtMs: number;
  readonly consistentSnapshot: boolean;
  /** Keys and threshold of the root role, for documents that are signed like a root. */
  readonly keySet: KeySet;
}

export interface CachedTarget {
  /** Undefined where the repository has no such target. */
  readonly target: TargetFile | undefined;
  /** Why the answer may be out of date, if it may. */
  readonly stale: TufError | undefined;
}

/**
 * The client workflow of TUF 1.0, section 5, as docs/protocol.md, section 12 narrows it. One update or look-up runs at a time; what was verified is in the cache before it is used, so a cut at any
 * moment leaves a client that goes on from there.
 */
export class RepositoryClient {
  readonly #trusted: TrustedMetadata;
  readonly #cache: MetadataCache;
  readonly #limits: TufLimits;
  #turn: Promise<unknown> = Promise.resolve();

  /** @throws TufError TUF_ANCHOR_INVALID */
  constructor({ pinnedRoot, cache, limits }: RepositoryClientOptions) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#cache = cache;
    this.#trusted = new TrustedMetadata({ pinnedRoot, cache, limits: this.#limits });
  }

  get root(): TrustedRoot {
    const { signed } = this.#trusted.root;
    return {
      version: signed.version,
      expiresAtMs: expiresAtMs(signed),
      consistentSnapshot: signed.consistent_snapshot,
      keySet: toKeySet(signed.roles.root, signed.keys),
    };
  }

  /** What is verified and cached, how long it holds, and why it is stale if it is. */
  status(nowMs: number): RepositoryStatus {
    return repositoryStatus(this.#trusted, nowMs);
  }

  /**
   * Sections 5.1 to 5.6.6: root, timestamp, snapshot and targets. What was verified before a step failed is kept.
   *
   * @throws TufError of every code but TUF_ANCHOR_INVALID and TUF_TARGET_MISMATCH, and what fetcher and cache throw
   */
  refresh(options: RefreshOptions): Promise<void> {
    return this.#inTurn(() => this.#refresh(options));
  }

  /**
   * Section 5.6.7: who is responsible for the path, and what they say about it. Roles that are cached and fresh are not fetched. Undefined where the
   * repository has no such target. Refresh first: nothing that has expired by `nowMs` is used.
   *
   * @throws TufError as `refresh`
   */
  target(path: string, options: RefreshOptions): Promise<TargetFile | undefined> {
    return this.#inTurn(() => {
      const targets = this.#completeTargets();
      const { stale } = this.status(options.nowMs);
      if (stale) throw stale;
      return this.#search(path, targets, (delegation, meta) => this.#freshRole(delegation, meta, options));
    });
  }

  /**
   * The same from the cache alone. Signatures, versions and hashes are verified as ever; what has expired is used and said to be stale, and the caller
   * decides whether that will do.
   *
   * @throws TufError TUF_NOT_CACHED where a piece is missing, and as `target`
   */
  cachedTarget(path: string, { nowMs }: Pick<RefreshOptions, 'nowMs'>): Promise<CachedTarget> {
    return this.#inTurn(async () => {
      let { stale } = this.status(nowMs);
      const target = await this.#search(path, this.#completeTargets(), (delegation, meta) => {
        const cached = readCachedRole(this.#cache, { delegation, meta, maxBytes: this.#limits.maxTargetsBytes });
        if (cached instanceof TufError) throw cached;
        stale ??= expiryError(cached, { nowMs, where: cacheNameOf(delegation), section: '5.6.5' });
        return Promise.resolve(cached);
      });
      return { target, stale };
    });
  }

  async #refresh({ nowMs, ...from }: RefreshOptions): Promise<void> {
    const trusted = this.#trusted;
    const { maxRootBytes, maxTimestampBytes, maxSnapshotBytes, maxTargetsBytes } = this.#limits;
    trusted.settle();

    // 5.3.2–5.3.9. Too many roots end the update (docs/protocol.md, section 12, step 3), where the specification lets it go on.
    for (let rotations = 0; ; rotations++) {
      const name = rootFileName(trusted.root.signed.version + 1);
      const bytes = await fetchMetadata(name, { ...from, maxBytes: maxRootBytes, section: '5.3.3' });
      if (bytes === undefined) break;
      if (rotations === this.#limits.maxRootRotations) {
        throw new TufError('TUF_TOO_MANY_ROTATIONS', `There are more than ${rotations} new roots at once.`, {
          section: '5.3.3',
          where: name,
        });
      }
      trusted.acceptRoot(bytes);
    }
    trusted.verifyRootNotExpired(nowMs);
    // 5.3.12
    const consistent = trusted.root.signed.consistent_snapshot;

    const atTimestamp = { ...from, maxBytes: maxTimestampBytes, section: '5.4.1' };
    const { meta } = trusted.acceptTimestamp(await fetchExisting('timestamp.json', atTimestamp), nowMs);

    const snapshotMeta = meta['snapshot.json'];
    if (!(isListed(trusted.snapshot, snapshotMeta) && isFresh(trusted.snapshot?.signed, nowMs))) {
      const name = servedFileName('snapshot', snapshotMeta.version, consistent);
      const options = { ...from, maxBytes: maxSnapshotBytes, section: '5.5.1' };
      trusted.acceptSnapshot(await fetchListed(name, snapshotMeta, options), snapshotMeta, nowMs);
    }

    const targetsMeta = trusted.targetsMeta('targets');
    if (targetsMeta === undefined) throw notListed('targets', '5.6.1');
    if (!(isListed(trusted.targets, targetsMeta) && isFresh(trusted.targets?.signed, nowMs))) {
      const name = servedFileName('targets', targetsMeta.version, consistent);
      const options = { ...from, maxBytes: maxTargetsBytes, section: '5.6.1' };
      trusted.acceptTargets(await fetchListed(name, targetsMeta, options), targetsMeta, nowMs);
    }
  }

  #search(
    targetPath: string,
    targets: Targets,
    loadListed: (delegation: Delegation, meta: MetaFile) => Promise<Targets>,
  ): Promise<TargetFile | undefined> {
    const load = (delegation: Delegation) => {
      const { name } = delegation.role;
      // A role that snapshot does not list has no version to hold it to.
      const meta = this.#trusted.targetsMeta(name);
      if (meta === undefined) throw notListed(name, '5.6.7');
      return loadListed(delegation, meta);
    };
    return searchTarget({ targetPath, targets, maxDelegations: this.#limits.maxDelegations, load });
  }

  async #freshRole(delegation: Delegation, meta: MetaFile, { nowMs, ...from }: RefreshOptions): Promise<Targets> {
    const check = { delegation, meta, maxBytes: this.#limits.maxTargetsBytes };
    const cached = readCachedRole(this.#cache, check);
    if (!(cached instanceof TufError) && isFresh(cached, nowMs)) return cached;
    const name = servedFileName(delegation.role.name, meta.version, this.root.consistentSnapshot);
    const bytes = await fetchListed(name, meta, { ...from, maxBytes: check.maxBytes, section: '5.6.1' });
    const role = verifyRole(bytes, check);
    const where = cacheNameOf(delegation);
    verifyNotExpired(role, { nowMs, where, section: '5.6.5' });
    this.#cache.write(where, bytes);
    return role;
  }

  #completeTargets(): Targets {
    const missing = missingPart(this.#trusted);
    const targets = this.#trusted.targets;
    if (missing === undefined && targets) return targets.signed;
    throw missing ?? notListed('targets', '5.6.1');
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

const isFresh = (signed: { readonly expires: string } | undefined, nowMs: number) =>
  signed !== undefined && expiresAtMs(signed) > nowMs;

const notListed = (role: string, section: string) =>
  new TufError('TUF_NOT_FOUND', `The snapshot does not list the role ${JSON.stringify(role)}.`, {
    section,
    where: 'snapshot.json',
  });
