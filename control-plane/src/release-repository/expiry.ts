import type { CodedErrorJson } from '@drover/shared/coded-error';
import { delegationOf, holdersOf, isDevelopment } from '@drover/shared/trust/ceremony';
import { expiresAtMs, type MetadataFile, type RoleKeys, type TufKey } from '@drover/shared/trust/tuf';
import { RepositoryError, repositoryMissing } from './errors.js';
import type { CurrentMetadata } from './metadata-files.js';
import { SNAPSHOT_VALID_MS, TIMESTAMP_VALID_MS } from './online-roles.js';

const DAY_MS = 86_400_000;
/** Time for people to find a passphrase, an air-gapped machine and a second signer. */
export const OFFLINE_WARNING_MS = 30 * DAY_MS;
/** The control plane signs after a third of the time; at the half of it something is wrong. */
const ONLINE_WARNING_SHARE = 0.5;

export type RoleCondition = 'good' | 'expiring' | 'expired';

export interface RoleState {
  readonly role: string;
  readonly version: number;
  readonly expiresAt: number;
  readonly secondsLeft: number;
  readonly condition: RoleCondition;
  readonly threshold: number;
  /** Ids as key files and `drover keys` show them. */
  readonly keyIds: readonly string[];
}

export interface RepositoryState {
  readonly exists: boolean;
  /** Keys that lie in the clear on somebody's machine sign for this repository. */
  readonly development: boolean;
  readonly roles: readonly RoleState[];
  /** Models that were delegated and have no release yet. */
  readonly waiting: readonly string[];
  /** What somebody has to do, the most urgent first. */
  readonly problems: readonly CodedErrorJson[];
}

/** All that people have to know about the repository at a time. */
export function repositoryState(current: CurrentMetadata | undefined, nowMs: number): RepositoryState {
  if (!current) {
    return { exists: false, development: false, roles: [], waiting: [], problems: [repositoryMissing().toJSON()] };
  }
  const { root, targets, snapshot, timestamp, models } = current;
  const state = (
    role: string,
    file: MetadataFile,
    holders: RoleKeys,
    keys: Readonly<Record<string, TufKey>>,
    warningMs: number,
  ): RoleState => {
    const expiresAt = expiresAtMs(file.signed);
    const leftMs = expiresAt - nowMs;
    return {
      role,
      version: file.signed.version,
      expiresAt,
      secondsLeft: Math.floor(leftMs / 1000),
      condition: leftMs <= 0 ? 'expired' : leftMs <= warningMs ? 'expiring' : 'good',
      threshold: holders.threshold,
      keyIds: holdersOf(holders, keys).keys.map(({ keyId }) => keyId),
    };
  };
  const { roles, keys } = root.signed;
  const delegated = targets.signed.delegations;
  const all = [
    state('root', root, roles.root, keys, OFFLINE_WARNING_MS),
    state('targets', targets, roles.targets, keys, OFFLINE_WARNING_MS),
    state('snapshot', snapshot, roles.snapshot, keys, SNAPSHOT_VALID_MS * ONLINE_WARNING_SHARE),
    state('timestamp', timestamp, roles.timestamp, keys, TIMESTAMP_VALID_MS * ONLINE_WARNING_SHARE),
    ...[...models].map(([model, file]) =>
      state(
        model,
        file,
        delegationOf(targets.signed, model) ?? { keyids: [], threshold: 1 },
        delegated?.keys ?? {},
        OFFLINE_WARNING_MS,
      ),
    ),
  ];
  return {
    exists: true,
    development: isDevelopment(root.signed),
    roles: all,
    waiting: (delegated?.roles ?? [])
      .map(({ name }) => name)
      .filter((name) => ![...models.keys()].some((model) => model === name)),
    problems: all
      .filter(({ condition }) => condition !== 'good')
      .sort((a, b) => a.expiresAt - b.expiresAt)
      .map(problemOf),
  };
}

function problemOf({ role, version, expiresAt, secondsLeft, condition }: RoleState): CodedErrorJson {
  const isOnline = role === 'timestamp' || role === 'snapshot';
  const when = new Date(expiresAt).toISOString();
  const days = Math.floor(secondsLeft / 86_400);
  return new RepositoryError(
    condition === 'expired' ? 'REPOSITORY_ROLE_EXPIRED' : 'REPOSITORY_ROLE_EXPIRING',
    condition === 'expired'
      ? `${role} version ${version} expired on ${when}: devices take no new release until it is signed anew.`
      : `${role} version ${version} expires in ${days} days, on ${when}.`,
    {
      where: `${role}.json`,
      remedy: isOnline
        ? 'The control plane signs it by itself. Look at its log for why it could not: its online key may not be the one that root names.'
        : `Let its holders sign it anew: \`drover keys renew ${role}\`, \`drover keys sign\`, \`drover keys publish\`.`,
    },
  ).toJSON();
}
