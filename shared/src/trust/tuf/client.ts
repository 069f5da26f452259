import type { KeySet } from '../keys.js';
import { expiryError, verifyListed, verifyNotExpired } from './checks.js';
import { searchTarget, type Delegation } from './delegation-search.js';
import type { MetaFile, Targets } from './documents.js';
import { TufError } from './errors.js';
import { toKeySet } from './keys.js';
import { metadataFileName, rootFileName, servedFileName } from './names.js';
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
 * The client workflow of TUF 1.0, section 5. One update or look-up runs at a time; what was verified is in the cache before it is used, so a cut at any
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
        const cached = this.#cachedRole(delegation, meta);
        if (cached instanceof TufError) throw cached;
        stale ??= expiryError(cached, {
          nowMs,
          where: metadataFileName(delegation.role.name) ?? '',
          section: '5.6.5',
        });
        return Promise.resolve(cached);
      });
      return { target, stale };
    });
  }

  async #refresh({ fetcher, nowMs, signal }: RefreshOptions): Promise<void> {
    const trusted = this.#trusted;
    const fetch = async (name: string, maxBytes: number) => {
      signal.throwIfAborted();
      return fetcher.fetch(name, { maxBytes, signal });
    };
    const fetchExisting = async (name: string, maxBytes: number, section: string) =>
      (await fetch(name, maxBytes)) ?? this.#refuseMissing(name, section);
    trusted.settle();

    // 5.3.2–5.3.9. The specification lets a client go on after too many roots; a root that revokes a key may be among those not reached.
    for (let rotations = 0; ; rotations++) {
      const name = rootFileName(trusted.root.signed.version + 1);
      const bytes = await fetch(name, this.#limits.maxRootBytes);
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

    trusted.acceptTimestamp(await fetchExisting('timestamp.json', this.#limits.maxTimestampBytes, '5.4.1'), nowMs);

    const snapshotMeta = trusted.snapshotMeta;
    if (snapshotMeta && !(isListed(trusted.snapshot, snapshotMeta) && isFresh(trusted.snapshot?.signed, nowMs))) {
      const name = servedFileName('snapshot', snapshotMeta.version, consistent);
      const maxBytes = this.#bound(snapshotMeta, this.#limits.maxSnapshotBytes, name, '5.5.1');
      trusted.acceptSnapshot(await fetchExisting(name, maxBytes, '5.5.1'), snapshotMeta, nowMs);
    }

    const targetsMeta = trusted.targetsMeta('targets');
    if (targetsMeta === undefined) throw notListed('targets', '5.6.1');
    if (!(isListed(trusted.targets, targetsMeta) && isFresh(trusted.targets?.signed, nowMs))) {
      const name = servedFileName('targets', targetsMeta.version, consistent);
      const maxBytes = this.#bound(targetsMeta, this.#limits.maxTargetsBytes, name, '5.6.1');
      trusted.acceptTargets(await fetchExisting(name, maxBytes, '5.6.1'), targetsMeta, nowMs);
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

  async #freshRole(delegation: Delegation, meta: MetaFile, { fetcher, nowMs, signal }: RefreshOptions) {
    const cached = this.#cachedRole(delegation, meta);
    if (!(cached instanceof TufError) && isFresh(cached, nowMs)) return cached;
    const { name } = delegation.role;
    const served = servedFileName(name, meta.version, this.#trusted.root.signed.consistent_snapshot);
    const maxBytes = this.#bound(meta, this.#limits.maxTargetsBytes, served, '5.6.1');
    signal.throwIfAborted();
    const bytes = (await fetcher.fetch(served, { maxBytes, signal })) ?? this.#refuseMissing(served, '5.6.1');
    const role = this.#verifyRole(bytes, delegation, meta);
    const where = metadataFileName(name) ?? '';
    verifyNotExpired(role, { nowMs, where, section: '5.6.5' });
    this.#cache.write(where, bytes);
    return role;
  }

  /** A cached role has no authority of its own: it is verified against the delegator that leads to it *now*. The error says why it cannot be used. */
  #cachedRole(delegation: Delegation, meta: MetaFile): Targets | TufError {
    const where = metadataFileName(delegation.role.name) ?? '';
    const bytes = this.#cache.read(where);
    const refuse = (cause?: unknown) =>
      new TufError('TUF_NOT_CACHED', `The cache has no usable ${where}.`, { section: '5.6.7', where, cause });
    if (bytes === undefined) return refuse();
    try {
      return this.#verifyRole(bytes, delegation, meta);
    } catch (cause) {
      if (cause instanceof TufError) return refuse(cause);
      throw cause;
    }
  }

  #verifyRole(bytes: Uint8Array, { role, keys, delegator }: Delegation, meta: MetaFile): Targets {
    return verifyListed({
      kind: 'targets',
      bytes,
      meta,
      listedIn: 'snapshot.json',
      role,
      keys,
      delegator: `role ${JSON.stringify(delegator)}`,
      where: metadataFileName(role.name) ?? '',
      maxBytes: this.#limits.maxTargetsBytes,
      sections: { hash: '5.6.2', signature: '5.6.3', version: '5.6.4' },
    }).signed;
  }

  #completeTargets(): Targets {
    const missing = missingPart(this.#trusted);
    const targets = this.#trusted.targets;
    if (missing === undefined && targets) return targets.signed;
    throw missing ?? notListed('targets', '5.6.1');
  }

  #bound({ length }: MetaFile, maxBytes: number, where: string, section: string): number {
    if (length === undefined) return maxBytes;
    if (length <= maxBytes) return length;
    throw new TufError('TUF_TOO_LARGE', `${where} is listed with ${length} bytes; at most ${maxBytes} are read.`, {
      section,
      where,
    });
  }

  #refuseMissing(name: string, section: string): never {
    throw new TufError('TUF_NOT_FOUND', `The repository has no ${name}.`, { section, where: name });
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
