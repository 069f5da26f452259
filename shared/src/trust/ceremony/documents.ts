import type { ModelName, Version } from '../../ids/index.js';
import type { KeySet, PublicKey } from '../keys.js';
import {
  toKeySet,
  toTufKey,
  tufKeyId,
  type DelegatedRole,
  type Delegations,
  type RoleKeys,
  type Root,
  type Targets,
  type TufKey,
} from '../tuf/index.js';

/** Who holds a role: as many of these keys as the threshold says have to sign. */
export interface Holders {
  readonly keys: readonly Pick<PublicKey, 'publicKey'>[];
  readonly threshold: number;
}

/** Roles that people sign, apart from the control plane. */
export type OfflineRole = 'root' | 'targets' | ModelName;

const SPEC_VERSION = '1.0.34';

/** An attribute of ours in root.json, signed like all others: the keys lie in the clear on somebody's machine. */
export const DEVELOPMENT_MARK = 'x-drover-development';
export const isDevelopment = (root: Root): boolean =>
  (root as { [DEVELOPMENT_MARK]?: unknown })[DEVELOPMENT_MARK] === true;

/** TUF 1.0, section 4.2.3: whole seconds in UTC. */
export const toExpires = (atMs: number): string => new Date(atMs).toISOString().replace(/\.\d{3}Z$/, 'Z');

/** Where a release stands in the repository (docs/protocol.md, section 3). */
export const releasePath = (model: ModelName, version: Version): string => `${model}/${version}.json`;

const keysById = (holders: readonly Holders[]): Record<string, TufKey> =>
  Object.fromEntries(holders.flatMap(({ keys }) => keys.map(toTufKey)).map((key) => [tufKeyId(key), key] as const));

const toRole = ({ keys, threshold }: Holders): RoleKeys => ({
  keyids: [...new Set(keys.map((key) => tufKeyId(toTufKey(key))))],
  threshold,
});

/** The holders of a role, as root or a delegation states them. */
export const holdersOf = (role: RoleKeys, keys: Readonly<Record<string, TufKey>>): KeySet => toKeySet(role, keys);

export interface RootHolders {
  readonly root: Holders;
  readonly targets: Holders;
  /** The control plane's own keys, which sign timestamp and snapshot; one suffices. */
  readonly online: Holders;
}

export const rootHoldersOf = ({ roles, keys }: Root): RootHolders => ({
  root: holdersOf(roles.root, keys),
  targets: holdersOf(roles.targets, keys),
  online: holdersOf(roles.timestamp, keys),
});

function rootDocument(version: number, holders: RootHolders, expiresAtMs: number, development: boolean): Root {
  const { root, targets, online } = holders;
  return {
    _type: 'root',
    spec_version: SPEC_VERSION,
    version,
    expires: toExpires(expiresAtMs),
    consistent_snapshot: true,
    keys: keysById([root, targets, online]),
    roles: { root: toRole(root), timestamp: toRole(online), snapshot: toRole(online), targets: toRole(targets) },
    ...(development ? { [DEVELOPMENT_MARK]: true } : {}),
  };
}

export const firstRoot = (o: RootHolders & { readonly expiresAtMs: number; readonly development?: boolean }): Root =>
  rootDocument(1, o, o.expiresAtMs, o.development ?? false);

/** The root that follows: what the change leaves out stays. A change of the publishers' keys ends the mark of development. */
export function nextRoot(root: Root, change: Partial<RootHolders>, expiresAtMs: number): Root {
  const isKept = change.root === undefined && change.targets === undefined;
  return rootDocument(
    root.version + 1,
    { ...rootHoldersOf(root), ...change },
    expiresAtMs,
    isKept && isDevelopment(root),
  );
}

const emptyTargets = (expiresAtMs: number): Targets => ({
  _type: 'targets',
  spec_version: SPEC_VERSION,
  version: 1,
  expires: toExpires(expiresAtMs),
  targets: {},
});

/** The top-level role: it delegates each model and lists nothing itself. */
export const firstTargets = (expiresAtMs: number): Targets => emptyTargets(expiresAtMs);
export const firstModelRole = (expiresAtMs: number): Targets => emptyTargets(expiresAtMs);

export const delegationOf = (targets: Targets, model: string): DelegatedRole | undefined =>
  targets.delegations?.roles?.find(({ name }) => name === model);

/** The next version, in which `holders` sign for the model: alone, and for its own paths only. */
export function delegate(targets: Targets, model: ModelName, holders: Holders, expiresAtMs: number): Targets {
  const { keys = {}, roles = [] } = targets.delegations ?? {};
  const others = roles.filter(({ name }) => name !== model);
  const used = new Set(others.flatMap(({ keyids }) => keyids));
  const delegations: Delegations = {
    keys: { ...Object.fromEntries(Object.entries(keys).filter(([keyId]) => used.has(keyId))), ...keysById([holders]) },
    roles: [...others, { name: model, ...toRole(holders), terminating: true, paths: [`${model}/*`] }],
  };
  return { ...renew(targets, expiresAtMs), delegations };
}

/** The same content under the next version and a new expiry. */
export const renew = <Document extends Root | Targets>(document: Document, expiresAtMs: number): Document => ({
  ...document,
  version: document.version + 1,
  expires: toExpires(expiresAtMs),
});

/** The model's role with one more release, as its next version; a role that was never published stays at its first. */
export function withRelease(
  role: Targets,
  {
    model,
    version,
    manifestBytes,
    sha256,
  }: { model: ModelName; version: Version; manifestBytes: number; sha256: string },
): Targets {
  const entry = { length: manifestBytes, hashes: { sha256 } };
  return { ...role, targets: { ...role.targets, [releasePath(model, version)]: entry } };
}

/** The model's role without a release: devices refuse it from then on. */
export function withoutRelease(role: Targets, path: string): Targets {
  return { ...role, targets: Object.fromEntries(Object.entries(role.targets).filter(([listed]) => listed !== path)) };
}
