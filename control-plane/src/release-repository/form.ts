import { DIGEST_PATTERN, ModelName, Version, type Digest } from '@drover/shared/ids';
import { MAX_MANIFEST_BYTES } from '@drover/shared/manifest';
import { releasePath } from '@drover/shared/trust/ceremony';
import type { Root, TargetEntry, Targets } from '@drover/shared/trust/tuf';
import { RepositoryError } from './errors.js';

// What TUF leaves open and this repository fixes (docs/protocol.md, section 3): a model's keys can say something about this model's releases only.

const refuse = (role: string, why: string) =>
  new RepositoryError('REPOSITORY_DOCUMENT_REFUSED', `This ${role} is refused: ${why}.`, {
    where: `${role}.json`,
    remedy: 'Make it with `drover keys` or `drover model publish`, which keep to the form of the repository.',
  });

export function verifyRootForm({ consistent_snapshot: isConsistent, roles }: Root): void {
  if (!isConsistent) throw refuse('root', 'consistent_snapshot must be true');
  for (const role of ['timestamp', 'snapshot'] as const) {
    if (roles[role].threshold !== 1)
      throw refuse('root', `the control plane alone signs ${role}, so its threshold is 1`);
  }
}

export function verifyTargetsForm(targets: Targets, current: Targets | undefined): void {
  if (Object.keys(targets.targets).length > 0)
    throw refuse('targets', 'releases are listed by the roles of their models');
  const delegated = new Set<string>();
  for (const { name, paths, path_hash_prefixes: prefixes, terminating, keyids, threshold } of targets.delegations
    ?.roles ?? []) {
    ModelName(name);
    if (!terminating || prefixes !== undefined || paths?.length !== 1 || paths[0] !== `${name}/*`)
      throw refuse('targets', `it delegates "${name}" otherwise than terminating and for ${name}/* alone`);
    if (threshold > keyids.length)
      throw refuse('targets', `${name} needs ${threshold} signatures and has ${keyids.length} keys`);
    delegated.add(name);
  }
  const gone = (current?.delegations?.roles ?? []).find(({ name }) => !delegated.has(name));
  // Devices refuse a snapshot in which a role has vanished (TUF 1.0, section 5.5.5).
  if (gone)
    throw refuse(
      'targets',
      `${gone.name} is no longer delegated; give it other keys instead, or withdraw its releases`,
    );
}

/** A release as a model's role lists it. */
export interface ListedRelease {
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  readonly manifestBytes: number;
}

export function verifyModelRoleForm(model: ModelName, role: Targets): void {
  if (role.delegations !== undefined) throw refuse(model, 'it delegates further');
  releasesIn(model, role);
}

/** @throws RepositoryError REPOSITORY_DOCUMENT_REFUSED; IdError */
export function releasesIn(model: ModelName, role: Targets): ListedRelease[] {
  return Object.entries(role.targets).map(([path, entry]) => listed(model, path, entry));
}

function listed(model: ModelName, path: string, { length, hashes }: TargetEntry): ListedRelease {
  const versionText = /^[^/]+\/(.+)\.json$/.exec(path)?.[1];
  const version = versionText === undefined ? undefined : Version(versionText);
  if (version === undefined || releasePath(model, version) !== path)
    throw refuse(model, `"${path}" is not of the form ${model}/VERSION.json`);
  const digest = `sha256:${hashes['sha256'] ?? ''}`;
  if (!new RegExp(DIGEST_PATTERN).test(digest) || Object.keys(hashes).length !== 1)
    throw refuse(model, `"${path}" must have one SHA-256 and no other hash`);
  if (length > MAX_MANIFEST_BYTES) throw refuse(model, `"${path}" is larger than a manifest may be`);
  return { model, version, digest: digest as Digest, manifestBytes: length };
}
