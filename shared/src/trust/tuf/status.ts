import { expiryError } from './checks.js';
import type { MetadataFile } from './documents.js';
import { TufError } from './errors.js';
import { expiresAtMs } from './parse.js';
import { isListed, type TrustedMetadata } from './trusted-metadata.js';

export interface RoleStatus {
  readonly version: number;
  readonly expiresAtMs: number;
}

export interface RepositoryStatus {
  readonly root: RoleStatus;
  readonly timestamp: RoleStatus | undefined;
  readonly snapshot: RoleStatus | undefined;
  readonly targets: RoleStatus | undefined;
  /** When the first of the four expires; undefined where they are not all there. */
  readonly freshUntilMs: number | undefined;
  /** Why the metadata may not be used as fresh: something expired, is missing, or does not belong to the rest. */
  readonly stale: TufError | undefined;
  /** Why entries of the cache were passed over when the client started. */
  readonly cacheErrors: readonly unknown[];
}

type Trusted = Pick<TrustedMetadata, 'root' | 'timestamp' | 'snapshot' | 'targets' | 'targetsMeta'>;

const statusOf = (file: MetadataFile | undefined): RoleStatus | undefined =>
  file && { version: file.signed.version, expiresAtMs: expiresAtMs(file.signed) };

/** An update that was cut off leaves, for instance, a timestamp that lists a snapshot which is not there yet. */
export function missingPart(trusted: Trusted): TufError | undefined {
  const missing = (where: string, why: string, section: string) =>
    new TufError('TUF_NOT_CACHED', `${where} ${why}.`, { section, where });
  if (!trusted.timestamp) return missing('timestamp.json', 'is not cached', '5.4');
  if (!trusted.snapshot) return missing('snapshot.json', 'is not cached', '5.5');
  if (!isListed(trusted.snapshot, trusted.timestamp.signed.meta['snapshot.json']))
    return missing('snapshot.json', 'is not the one that the cached timestamp lists', '5.5.4');
  if (!trusted.targets) return missing('targets.json', 'is not cached', '5.6');
  if (!isListed(trusted.targets, trusted.targetsMeta('targets')))
    return missing('targets.json', 'is not the one that the cached snapshot lists', '5.6.4');
  return undefined;
}

export function repositoryStatus(
  trusted: Trusted & Pick<TrustedMetadata, 'cacheErrors'>,
  nowMs: number,
): RepositoryStatus {
  const { root, timestamp, snapshot, targets, cacheErrors } = trusted;
  const missing = missingPart(trusted);
  const files = [
    { file: root, where: 'root.json', section: '5.3.10' },
    { file: timestamp, where: 'timestamp.json', section: '5.4.4' },
    { file: snapshot, where: 'snapshot.json', section: '5.5.6' },
    { file: targets, where: 'targets.json', section: '5.6.5' },
  ];
  const expired = files
    .map(({ file, ...at }) => file && expiryError(file.signed, { nowMs, ...at }))
    .find((error) => error !== undefined);
  const expiries = files.map(({ file }) => (file ? expiresAtMs(file.signed) : NaN));
  return {
    root: { version: root.signed.version, expiresAtMs: expiresAtMs(root.signed) },
    timestamp: statusOf(timestamp),
    snapshot: statusOf(snapshot),
    targets: statusOf(targets),
    freshUntilMs: missing ? undefined : Math.min(...expiries),
    stale: missing ?? expired,
    cacheErrors,
  };
}
