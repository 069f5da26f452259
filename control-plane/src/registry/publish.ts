import { digestOf, type Digest, type ModelName, type Version } from '@drover/shared/ids';
import { allFiles, parseRelease, type FileReference, type ReleaseManifest } from '@drover/shared/manifest';
import { RELEASE_TYPE } from '@drover/shared/protocol';
import { encodeEnvelope, verifyEnvelope, type Envelope } from '@drover/shared/trust';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { RegistryError } from './errors.js';
import { publisherKeys } from './publisher-keys.js';
import { releases } from './releases.js';

/** What publishing needs to know of the stored files. */
export interface StoredFiles {
  /** Size in bytes, or undefined if the file has not been uploaded. */
  bytesOf(digest: Digest): Promise<number | undefined>;
}

export interface Publication {
  readonly envelope: Envelope;
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface Published {
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
}

/**
 * Takes a signed release into the registry (docs/protocol.md, section 3): signature first, then the manifest, then its files, which must have
 * been uploaded before, so that a published release can always be fetched.
 *
 * @throws TrustError, ManifestError, RegistryError
 */
export async function publish(db: Db, files: StoredFiles, { envelope, by, at }: Publication): Promise<Published> {
  const { payload, signedBy } = verifyEnvelope(envelope, RELEASE_TYPE, await publisherKeys(db).required());
  const manifest = parseRelease(payload);
  const digest = digestOf(payload);
  await requireFiles(manifest, files);
  const { model, version } = manifest;
  await db.transaction().execute(async (trx) => {
    await requireNewVersion(trx, manifest);
    await requireParent(trx, manifest);
    await trx
      .insertInto('releases')
      .values({
        digest,
        model,
        version,
        parent: manifest.lineage.parent ?? null,
        envelope: encodeEnvelope(envelope).toString('utf8'),
        published_at: at,
        published_by: by,
      })
      .execute();
    await audit(trx).append({
      actor: by,
      action: 'release.publish',
      subject: `${model}@${version}`,
      detail: { digest, signedBy },
      at,
    });
  });
  return { model, version, digest };
}

async function requireFiles(manifest: ReleaseManifest, files: StoredFiles): Promise<void> {
  const missing: FileReference[] = [];
  for (const file of allFiles(manifest)) {
    const bytes = await files.bytesOf(file.digest);
    if (bytes === undefined) missing.push(file);
    else if (bytes !== file.bytes) {
      throw new RegistryError(
        'RELEASE_FILE_SIZE_WRONG',
        `${file.path} has ${bytes} bytes; the manifest says ${file.bytes}.`,
        {
          where: file.path,
          remedy: 'Make the manifest again from the files that are to be published, and sign it again.',
        },
      );
    }
  }
  if (missing.length === 0) return;
  throw new RegistryError('RELEASE_FILES_MISSING', `${missing.length} files of the release have not been uploaded.`, {
    where: missing.map(({ path, digest }) => `${path} (${digest})`).join(', '),
    remedy: 'Upload each with PUT /api/v1/blobs/{sha256}, then publish again; `drover model publish` does both.',
  });
}

async function requireNewVersion(db: Db, { model, version }: ReleaseManifest): Promise<void> {
  if (!(await releases(db).find(model, version))) return;
  throw new RegistryError('RELEASE_EXISTS', `${model}@${version} has been published already; releases never change.`, {
    remedy: 'Publish under a higher version.',
  });
}

async function requireParent(db: Db, { model, lineage: { parent } }: ReleaseManifest): Promise<void> {
  if (parent === undefined) return;
  const row = await db.selectFrom('releases').select('model').where('digest', '=', parent).executeTakeFirst();
  if (row) return;
  throw new RegistryError(
    'RELEASE_PARENT_UNKNOWN',
    `The lineage of this ${model} names the parent ${parent}, which is not here.`,
    {
      remedy: 'Publish the parent first, or leave it out of the lineage.',
    },
  );
}
