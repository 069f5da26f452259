import { compareVersions, type Version } from '@drover/shared/ids';

/**
 * The release before a version: the newest one below it that its publishers still stand by. What a new release is built upon and what an old one is
 * shown against are the same. Pure.
 */
export const releaseBelow = <Known extends { readonly version: Version; readonly withdrawnAt?: number }>(
  releases: readonly Known[],
  version: Version,
): Known | undefined =>
  releases
    .filter((release) => release.withdrawnAt === undefined && compareVersions(release.version, version) < 0)
    .sort((left, right) => compareVersions(left.version, right.version))
    .at(-1);
