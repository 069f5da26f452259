import { verifyByRoot, verifyListed, verifyNotExpired, verifySnapshotGoesForward } from './checks.js';
import { entryOf, type MetadataFile, type MetaFile, type Timestamp } from './documents.js';
import { TufError } from './errors.js';
import { listedName, passedRootName } from './names.js';
import { parseMetadata } from './parse.js';
import type { MetadataCache, TufLimits } from './ports.js';
import { differenceFrom } from './target-file.js';
import { hasRotatedOnlineKeys, readCachedRoots, readPinnedRoot, verifyNextRoot } from './trusted-root.js';

const TIMESTAMP = 'timestamp.json';
const SNAPSHOT = 'snapshot.json';
const TARGETS = 'targets.json';

export interface TrustedMetadataOptions {
  /** The root.json that the device was given out of band (TUF 1.0, section 5.2). */
  readonly pinnedRoot: Uint8Array;
  readonly cache: MetadataCache;
  readonly limits: TufLimits;
}

/**
 * The trusted top-level metadata of TUF 1.0, section 5. INVARIANT: whatever is held here was signed as the held root demands; it was written to the
 * cache before it was held; and it is replaced only by what passed the checks of its section. A step that throws changes nothing.
 */
export class TrustedMetadata {
  readonly #cache: MetadataCache;
  readonly #limits: TufLimits;
  #root: MetadataFile<'root'>;
  #timestamp: MetadataFile<'timestamp'> | undefined;
  #snapshot: MetadataFile<'snapshot'> | undefined;
  #targets: MetadataFile<'targets'> | undefined;
  /** Timestamp and snapshot are not trusted any more, and still have to be removed from the cache (5.3.11). */
  #forgetOnline: boolean;
  #cacheErrors: readonly unknown[];

  /** @throws TufError TUF_ANCHOR_INVALID */
  constructor({ pinnedRoot, cache, limits }: TrustedMetadataOptions) {
    this.#cache = cache;
    this.#limits = limits;
    const pinned = readPinnedRoot(pinnedRoot, limits.maxRootBytes);
    const { root, rotationUnfinished, errors } = readCachedRoots(pinned, cache, limits.maxRootBytes);
    this.#root = root;
    this.#forgetOnline = rotationUnfinished;
    this.#cacheErrors = [...errors, ...this.#load()];
  }

  get root() {
    return this.#root;
  }
  get timestamp() {
    return this.#timestamp;
  }
  get snapshot() {
    return this.#snapshot;
  }
  get targets() {
    return this.#targets;
  }
  /** Why entries of the cache were passed over. They are fetched anew. */
  get cacheErrors() {
    return this.#cacheErrors;
  }

  /**
   * Takes from the cache what the trusted root covers. Expiry is not looked at: what expired is still the base of the rollback checks (5.4.3, 5.5.5).
   */
  #load(): unknown[] {
    const errors: unknown[] = [];
    const read = <Kind extends 'timestamp' | 'snapshot' | 'targets'>(kind: Kind, maxBytes: number) => {
      const where = listedName(kind);
      const bytes = this.#cache.read(where);
      if (bytes === undefined) return undefined;
      try {
        const file = parseMetadata(kind, bytes, { where, maxBytes });
        verifyByRoot(file, this.#root.signed, { where, section: '5.3.11' });
        return file;
      } catch (error) {
        errors.push(error);
        return undefined;
      }
    };
    this.#timestamp = this.#forgetOnline ? undefined : read('timestamp', this.#limits.maxTimestampBytes);
    this.#snapshot = this.#forgetOnline ? undefined : read('snapshot', this.#limits.maxSnapshotBytes);
    this.#targets = read('targets', this.#limits.maxTargetsBytes);
    return errors;
  }

  /** Makes root.json the trusted root (5.3.8), after the consequence of a rotation (5.3.11); also finishes what a power cut interrupted. */
  settle(): void {
    if (this.#forgetOnline) {
      this.#cache.remove(TIMESTAMP);
      this.#cache.remove(SNAPSHOT);
    }
    const settled = this.#cache.read('root.json');
    if (settled === undefined || !Buffer.from(this.#root.bytes).equals(settled))
      this.#cache.write('root.json', this.#root.bytes);
    this.#forgetOnline = false;
  }

  /** Sections 5.3.4 to 5.3.8, and 5.3.11 for this one step. */
  acceptRoot(bytes: Uint8Array): void {
    const next = verifyNextRoot(bytes, this.#root.signed, this.#limits.maxRootBytes);
    // The order matters: a cut after this write is seen at the next start, because root.json is then older (`rotationUnfinished`).
    this.#cache.write(passedRootName(next.signed.version), bytes);
    this.#forgetOnline ||= hasRotatedOnlineKeys(this.#root.signed, next.signed);
    this.#root = next;
    this.#cacheErrors = this.#load();
    this.settle();
  }

  /** Section 5.3.10. */
  verifyRootNotExpired(nowMs: number): void {
    verifyNotExpired(this.#root.signed, { nowMs, where: 'root.json', section: '5.3.10' });
  }

  /** Sections 5.4.2 to 5.4.5. A file of the same version changes nothing, but the trusted one has to be fresh to go on with it. */
  acceptTimestamp(bytes: Uint8Array, nowMs: number): Timestamp {
    const where = TIMESTAMP;
    const next = parseMetadata('timestamp', bytes, { where, maxBytes: this.#limits.maxTimestampBytes });
    verifyByRoot(next, this.#root.signed, { where, section: '5.4.2' });
    const trusted = this.#timestamp?.signed;
    if (trusted !== undefined) {
      const rollback = (what: string, section: string) => new TufError('TUF_ROLLBACK', what, { section, where });
      const { version } = next.signed;
      if (version < trusted.version)
        throw rollback(`${where} has version ${version}; version ${trusted.version} was seen before.`, '5.4.3.1');
      if (version === trusted.version) {
        verifyNotExpired(trusted, { nowMs, where, section: '5.4.4' });
        return trusted;
      }
      const [listed, seen] = [next.signed.meta[SNAPSHOT].version, trusted.meta[SNAPSHOT].version];
      if (listed < seen)
        throw rollback(`${where} lists version ${listed} of ${SNAPSHOT}; version ${seen} was seen before.`, '5.4.3.2');
    }
    verifyNotExpired(next.signed, { nowMs, where, section: '5.4.4' });
    this.#cache.write(where, bytes);
    this.#timestamp = next;
    return next.signed;
  }

  /** Sections 5.5.2 to 5.5.7. */
  acceptSnapshot(bytes: Uint8Array, meta: MetaFile, nowMs: number): void {
    const { keys, roles, version } = this.#root.signed;
    const where = SNAPSHOT;
    const next = verifyListed({
      kind: 'snapshot',
      bytes,
      meta,
      listedIn: TIMESTAMP,
      role: roles.snapshot,
      keys,
      delegator: `root version ${version}`,
      where,
      maxBytes: this.#limits.maxSnapshotBytes,
      sections: { hash: '5.5.2', signature: '5.5.3', version: '5.5.4' },
    });
    if (this.#snapshot) verifySnapshotGoesForward(this.#snapshot.signed, next.signed, where);
    verifyNotExpired(next.signed, { nowMs, where, section: '5.5.6' });
    this.#cache.write(where, bytes);
    this.#snapshot = next;
  }

  /** What the trusted snapshot says about a targets role. */
  targetsMeta(role: string): MetaFile | undefined {
    return this.#snapshot && entryOf(this.#snapshot.signed.meta, listedName(role));
  }

  /** Sections 5.6.2 to 5.6.6, for the top-level role. */
  acceptTargets(bytes: Uint8Array, meta: MetaFile, nowMs: number): void {
    const { keys, roles, version } = this.#root.signed;
    const where = TARGETS;
    const next = verifyListed({
      kind: 'targets',
      bytes,
      meta,
      listedIn: SNAPSHOT,
      role: roles.targets,
      keys,
      delegator: `root version ${version}`,
      where,
      maxBytes: this.#limits.maxTargetsBytes,
      sections: { hash: '5.6.2', signature: '5.6.3', version: '5.6.4' },
    });
    verifyNotExpired(next.signed, { nowMs, where, section: '5.6.5' });
    this.#cache.write(where, bytes);
    this.#targets = next;
  }
}

/** Whether a verified file is the one that is listed now: an older one is a base for rollback checks only. */
export const isListed = (file: MetadataFile | undefined, meta: MetaFile | undefined): boolean =>
  file !== undefined &&
  meta !== undefined &&
  file.signed.version === meta.version &&
  differenceFrom(meta, file.bytes) === undefined;
