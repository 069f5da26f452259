import { createHash } from 'node:crypto';
import { toExpires } from '@drover/shared/trust/ceremony';
import {
  metadataFileName,
  parseMetadata,
  signMetadata,
  type MetadataFile,
  type MetaFile,
  type Root,
  type Snapshot,
  type Timestamp,
} from '@drover/shared/trust/tuf';
import { RepositoryError } from './errors.js';
import type { OnlineKeys } from './online-keys.js';

const DAY_MS = 86_400_000;
/** How long a device that is cut off from new metadata can be kept from noticing (TUF 1.0, section 1.5.2, indefinite freeze). */
export const TIMESTAMP_VALID_MS = 3 * DAY_MS;
export const SNAPSHOT_VALID_MS = 30 * DAY_MS;

const SPEC_VERSION = '1.0.34';
const MAX_BYTES = 2 * 1024 * 1024;

/** The files that snapshot lists, by role. */
export type ListedFiles = ReadonlyMap<string, Pick<MetadataFile<'targets'>, 'signed' | 'bytes'>>;

/**
 * The next version of a role that the control plane signs by itself. It is at least the time in seconds, so that a control plane restored from a
 * backup is never below what devices have seen (TUF 1.0, section 5.4.3).
 */
const nextVersion = (previous: number | undefined, nowMs: number): number =>
  Math.max((previous ?? 0) + 1, Math.floor(nowMs / 1000));

export interface OnlineRoles {
  readonly snapshot?: MetadataFile<'snapshot'>;
  readonly timestamp: MetadataFile<'timestamp'>;
}

/** @throws RepositoryError REPOSITORY_ONLINE_KEY_MISSING */
export function signSnapshot(
  root: Root,
  keys: OnlineKeys,
  files: ListedFiles,
  previous: number | undefined,
  nowMs: number,
): MetadataFile<'snapshot'> {
  const signed: Snapshot = {
    _type: 'snapshot',
    spec_version: SPEC_VERSION,
    version: nextVersion(previous, nowMs),
    expires: toExpires(nowMs + SNAPSHOT_VALID_MS),
    meta: Object.fromEntries([...files].map(([role, file]) => [metadataFileName(role) ?? role, metaOf(file)])),
  };
  const bytes = signMetadata(signed, [signerOf(root, 'snapshot', keys)]);
  return parseMetadata('snapshot', bytes, { where: 'snapshot.json', maxBytes: MAX_BYTES });
}

/**
 * With its hash: after a restored backup a version can come a second time, with other contents, and devices that keep the first have to notice.
 */
const metaOf = ({ signed, bytes }: Pick<MetadataFile<'targets'>, 'signed' | 'bytes'>): MetaFile => ({
  version: signed.version,
  hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
});

/** @throws RepositoryError REPOSITORY_ONLINE_KEY_MISSING */
export function signTimestamp(
  root: Root,
  keys: OnlineKeys,
  snapshot: Snapshot,
  previous: number | undefined,
  nowMs: number,
): MetadataFile<'timestamp'> {
  const signed: Timestamp = {
    _type: 'timestamp',
    spec_version: SPEC_VERSION,
    version: nextVersion(previous, nowMs),
    expires: toExpires(nowMs + TIMESTAMP_VALID_MS),
    // Without length and hash, which section 4.6 leaves open: snapshot is signed by the same control plane, and this file is fetched most of all.
    meta: { 'snapshot.json': { version: snapshot.version } },
  };
  const bytes = signMetadata(signed, [signerOf(root, 'timestamp', keys)]);
  return parseMetadata('timestamp', bytes, { where: 'timestamp.json', maxBytes: MAX_BYTES });
}

export function signerOf(root: Root, role: 'snapshot' | 'timestamp', keys: OnlineKeys) {
  const signer = keys.signerAmong(root.roles[role].keyids);
  if (signer) return signer;
  throw new RepositoryError(
    'REPOSITORY_ONLINE_KEY_MISSING',
    `Root version ${root.version} names no key of this control plane for ${role}.`,
    {
      where: `${root.version}.root.json`,
      remedy:
        'Name its key in a new root: `drover keys rotate online`, signed by the holders of root. If the data folder was lost in part, restore online-keys/ from the backup.',
    },
  );
}
