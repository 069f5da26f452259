import { rootFileName, type MetadataFile } from '@drover/shared/trust/tuf';
import { repositoryMissing } from '../../release-repository/errors.js';
import { findFile, type MetadataSource } from './source.js';

/**
 * Every root that a repository has, the oldest first: devices follow them one by one (TUF 1.0, section 5.3). A repository that was published
 * again may begin later than with version 1, and versions follow each other without a gap, so the search goes down from the newest.
 *
 * @throws RepositoryError REPOSITORY_MISSING; TufError; what the source throws
 */
export async function rootsOf(
  source: MetadataSource,
  signal: AbortSignal,
): Promise<[...MetadataFile<'root'>[], MetadataFile<'root'>]> {
  const newest = await findFile(source, 'root', 'root.json', signal);
  if (!newest) throw repositoryMissing();
  const older: MetadataFile<'root'>[] = [];
  for (let version = newest.signed.version - 1; version >= 1; version -= 1) {
    const root = await findFile(source, 'root', rootFileName(version), signal);
    if (!root) break;
    older.push(root);
  }
  return [...older.reverse(), newest];
}
