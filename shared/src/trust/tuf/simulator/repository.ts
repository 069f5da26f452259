import { createHash } from 'node:crypto';
import type { MetadataKind, MetaFile, Root, RoleKeys, Snapshot, Targets, Timestamp } from '../documents.js';
import { listedName, rootFileName, servedFileName } from '../names.js';
import type { MetadataFetcher } from '../ports.js';
import { encodeMetadata, signatureOf, type TufSigner } from '../signatures.js';
import { createSigner, type KeyType } from './signers.js';

/** A document whose every part a test may change. */
export type Draft<Value> = Value extends object ? { -readonly [Key in keyof Value]: Draft<Value[Key]> } : Value;

export interface SimulatorOptions {
  readonly nowMs: number;
  readonly consistentSnapshot?: boolean;
  /** Whether timestamp and snapshot list length and hash of what they list, beside its version. */
  readonly listHashes?: boolean;
  readonly keyType?: KeyType;
}

export interface DelegationOptions {
  readonly from?: string;
  readonly name: string;
  readonly paths?: readonly string[];
  readonly pathHashPrefixes?: readonly string[];
  readonly terminating?: boolean;
  readonly threshold?: number;
  readonly signers?: readonly TufSigner[];
}

const DAY_MS = 86_400_000;
export const toExpiry = (timeMs: number): string => new Date(timeMs).toISOString().replace(/\.\d{3}Z$/, 'Z');

/**
 * A TUF repository with real keys and signatures, in memory. It starts with version 1 of the four top-level roles, published. A test changes the
 * documents, keys or served files, and publishes what shall be signed anew:
 *
 *     const repository = new RepositorySimulator({ nowMs });
 *     repository.delegate({ name: 'gas', paths: ['gas/*'] });
 *     repository.addTarget('gas', 'gas/1.0.0.json', bytes);
 *     repository.publish('gas', 'targets', 'snapshot', 'timestamp');
 *     await client.refresh({ fetcher: repository.fetcher, nowMs, signal });
 */
export class RepositorySimulator {
  readonly root: Draft<Root>;
  readonly timestamp: Draft<Timestamp>;
  readonly snapshot: Draft<Snapshot>;
  readonly targets: Draft<Targets>;
  readonly delegated = new Map<string, Draft<Targets>>();
  /** Who signs a role when it is published next; what the trusted keys of the role are stands in root or in its delegator. */
  readonly signers = new Map<string, TufSigner[]>();
  /** What is served, by file name. */
  readonly files = new Map<string, Uint8Array>();
  /** File names that were asked for, in order. */
  readonly requests: string[] = [];
  /** Before the test begins to rotate: the first root, as it is given to a device. */
  readonly pinnedRoot: Uint8Array;
  readonly #listHashes: boolean;
  readonly #keyType: KeyType;
  readonly #expires: string;

  constructor({ nowMs, consistentSnapshot = true, listHashes = false, keyType = 'ed25519' }: SimulatorOptions) {
    this.#listHashes = listHashes;
    this.#keyType = keyType;
    this.#expires = toExpiry(nowMs + 30 * DAY_MS);
    const common = { spec_version: '1.0.34', version: 0, expires: this.#expires };
    const none = (): Draft<RoleKeys> => ({ keyids: [], threshold: 1 });
    this.root = {
      _type: 'root',
      ...common,
      consistent_snapshot: consistentSnapshot,
      keys: {},
      roles: { root: none(), timestamp: none(), snapshot: none(), targets: none() },
    };
    this.timestamp = { _type: 'timestamp', ...common, meta: { 'snapshot.json': { version: 1 } } };
    this.snapshot = { _type: 'snapshot', ...common, meta: {} };
    this.targets = { _type: 'targets', ...common, targets: {} };
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) this.addKey(role);
    this.publish('root', 'targets', 'snapshot', 'timestamp');
    this.pinnedRoot = this.files.get('1.root.json') ?? new Uint8Array();
  }

  /** Serves `files`, and notes what was asked for. */
  get fetcher(): MetadataFetcher {
    return {
      fetch: (name, { maxBytes }) => {
        this.requests.push(name);
        return Promise.resolve(this.files.get(name)?.subarray(0, maxBytes + 1));
      },
    };
  }

  /** The document of a role, by its name. */
  role(name: string): Draft<Root | Timestamp | Snapshot | Targets> {
    if (name === 'root' || name === 'timestamp' || name === 'snapshot') return this[name];
    return this.targetsRole(name);
  }

  targetsRole(name: string): Draft<Targets> {
    const role = name === 'targets' ? this.targets : this.delegated.get(name);
    if (!role) throw new Error(`The simulator has no role ${name}.`);
    return role;
  }

  /** Signs the next version of each role, in this order, and serves it. Timestamp and snapshot list what was published before them. */
  publish(...roles: readonly string[]): this {
    for (const name of roles) {
      this.role(name).version++;
      this.serve(name);
    }
    return this;
  }

  /** Signs a role as it stands, whatever its version, and serves it under `version`. Updates what lists it. */
  serve(name: string, version = this.role(name).version): Uint8Array {
    const signed = this.role(name);
    const signatures = (this.signers.get(name) ?? []).map((signer) => signatureOf(signed, signer));
    const bytes = encodeMetadata({ signed, signatures });
    if (name === 'root') this.files.set(rootFileName(version), bytes);
    else if (name === 'timestamp') this.files.set('timestamp.json', bytes);
    else this.files.set(servedFileName(name, version, this.root.consistent_snapshot), bytes);
    if (name === 'snapshot') this.timestamp.meta['snapshot.json'] = this.#metaOf(signed.version, bytes);
    else if (signed._type === 'targets') {
      this.snapshot.meta[listedName(name)] = this.#metaOf(signed.version, bytes);
    }
    return bytes;
  }

  /** Adds a key to a role and to those who sign it. */
  addKey(role: string, { signer = createSigner(this.#keyType), delegator = 'targets' } = {}): TufSigner {
    const { keys, trusted } = this.#keysOf(role, delegator);
    keys[signer.keyId] = signer.key;
    if (!trusted.keyids.includes(signer.keyId)) trusted.keyids.push(signer.keyId);
    this.signers.set(role, [...(this.signers.get(role) ?? []), signer]);
    return signer;
  }

  /** Replaces every key of a role by as many new ones. A rotated root is also signed by the old keys, as section 6.1 wants it. */
  rotateKeys(role: string, { delegator = 'targets' } = {}): void {
    const { trusted } = this.#keysOf(role, delegator);
    const before = this.signers.get(role) ?? [];
    const count = trusted.keyids.length;
    trusted.keyids = [];
    this.signers.set(role, []);
    for (let added = 0; added < count; added++) this.addKey(role, { delegator });
    if (role === 'root') this.signers.set(role, [...(this.signers.get(role) ?? []), ...before]);
  }

  setThreshold(role: string, threshold: number, { delegator = 'targets' } = {}): void {
    this.#keysOf(role, delegator).trusted.threshold = threshold;
  }

  /** Lets `from` delegate to a role, which is made if there is none. Neither is published by it. */
  delegate({
    from = 'targets',
    name,
    paths,
    pathHashPrefixes,
    terminating = false,
    threshold = 1,
    ...o
  }: DelegationOptions) {
    const delegator = this.targetsRole(from);
    delegator.delegations ??= { keys: {}, roles: [] };
    delegator.delegations.roles ??= [];
    delegator.delegations.roles.push({
      name,
      keyids: [],
      threshold,
      terminating,
      ...(paths ? { paths: [...paths] } : {}),
      ...(pathHashPrefixes ? { path_hash_prefixes: [...pathHashPrefixes] } : {}),
    });
    if (!this.delegated.has(name)) {
      this.delegated.set(name, {
        _type: 'targets',
        spec_version: '1.0.34',
        version: 0,
        expires: this.#expires,
        targets: {},
      });
    }
    for (const signer of o.signers ?? [createSigner(this.#keyType)]) this.addKey(name, { signer, delegator: from });
    return this;
  }

  addTarget(role: string, path: string, bytes: Uint8Array): void {
    this.targetsRole(role).targets[path] = { length: bytes.length, hashes: { sha256: sha256(bytes) } };
  }

  #keysOf(role: string, delegator: string): { keys: Draft<Root['keys']>; trusted: Draft<RoleKeys> } {
    if (Object.hasOwn(this.root.roles, role))
      return { keys: this.root.keys, trusted: this.root.roles[role as MetadataKind] };
    const delegations = this.targetsRole(delegator).delegations;
    const trusted = delegations?.roles?.find(({ name }) => name === role);
    if (!delegations || !trusted) throw new Error(`${delegator} does not delegate to ${role}.`);
    return { keys: delegations.keys, trusted };
  }

  #metaOf(version: number, bytes: Uint8Array): Draft<MetaFile> {
    return this.#listHashes ? { version, length: bytes.length, hashes: { sha256: sha256(bytes) } } : { version };
  }
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
