import { compareVersions, type ModelName } from '@drover/shared/ids';
import type { MetadataFile, Targets } from '@drover/shared/trust/tuf';
import type { Db } from '../database/index.js';
import { recordRelease, withdrawRelease, type StoredFiles } from '../registry/index.js';
import { RegistryError } from '../registry/errors.js';
import { releasesIn } from './form.js';

export interface ModelPublication {
  readonly model: ModelName;
  readonly role: MetadataFile<'targets'>;
  readonly before: Targets | undefined;
  readonly by: string;
  readonly at: number;
}

/**
 * Brings the registry to what a model's new role lists: new releases come in with their manifests and files, those that it no longer lists are withdrawn.
 *
 * @throws RegistryError, ManifestError, RepositoryError
 */
export async function recordReleases(
  db: Db,
  files: StoredFiles,
  { model, role, before, by, at }: ModelPublication,
): Promise<void> {
  const listedBefore = new Map(before ? releasesIn(model, before).map((each) => [each.version, each]) : []);
  // Oldest first: a release may name one of the same publication as its parent.
  const listed = releasesIn(model, role.signed).sort((a, b) => compareVersions(a.version, b.version));
  const signedBy = role.signatures.map(({ keyid }) => keyid);
  for (const release of listed) {
    const known = listedBefore.get(release.version);
    if (known === undefined) await recordRelease(db, files, { ...release, signedBy, by, at });
    else if (known.digest !== release.digest || known.manifestBytes !== release.manifestBytes) {
      throw new RegistryError(
        'RELEASE_EXISTS',
        `${model}@${release.version} has been published already; releases never change.`,
        {
          remedy: 'Publish under a higher version.',
        },
      );
    }
    listedBefore.delete(release.version);
  }
  for (const { version } of listedBefore.values()) await withdrawRelease(db, { model, version, by, at });
}
