import type { Readable } from 'node:stream';
import { digestOf, type Digest, type ModelName, type Version } from '@drover/shared/ids';
import { allFiles, parseRelease, type FileReference, type ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import { RegistryError } from './errors.js';

/** What publishing needs to know of the stored files. */
export interface StoredFiles {
  /** Size in bytes, or undefined if the file has not been uploaded. */
  bytesOf(digest: Digest): Promise<number | undefined>;
  /** The bytes of a file that is there. */
  read(digest: Digest): Readable;
}

export interface Published {
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
}

export interface ReleaseRecord extends Published {
  /** As the model's role in the release repository states it. */
  readonly manifestBytes: number;
  /** TUF ids of the keys whose signatures under that role hold. */
  readonly signedBy: readonly string[];
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/**
 * Takes a release into the registry that its model's role lists (docs/protocol.md, section 3): the manifest and all that it names must have been
 * uploaded before, so that a published release can always be fetched. To be called in the transaction that stores the role.
 *
 * @throws ManifestError, RegistryError
 */
export async function recordRelease(db: Db, files: StoredFiles, release: ReleaseRecord): Promise<void> {
  const { model, version, digest, by, at, signedBy } = release;
  const bytes = await readManifest(files, release);
  const manifest = parseRelease(bytes);
  if (manifest.model !== model || manifest.version !== version) {
    throw new RegistryError(
      'RELEASE_TARGET_WRONG',
      `The manifest that is listed as ${model}@${version} is that of ${manifest.model}@${manifest.version}.`,
      { where: digest, remedy: 'List the release under its own model and version: `drover model publish` does.' },
    );
  }
  await requireFiles(manifest, files);
  await requireParent(db, manifest);
  const known = await db
    .selectFrom('releases')
    .select(['digest'])
    .where('model', '=', model)
    .where('version', '=', version)
    .executeTakeFirst();
  if (known && known.digest !== digest) throw exists(manifest);
  if (known) await db.updateTable('releases').set({ withdrawn_at: null }).where('digest', '=', digest).execute();
  else {
    await db
      .insertInto('releases')
      .values({
        digest,
        model,
        version,
        parent: manifest.lineage.parent ?? null,
        manifest: bytes.toString('utf8'),
        published_at: at,
        published_by: by,
        withdrawn_at: null,
      })
      .execute();
  }
  await audit(db).append({
    actor: by,
    action: 'release.publish',
    subject: `${model}@${version}`,
    detail: { digest, signedBy },
    at,
  });
}

/** What the model's role no longer lists is not given to any device again. What runs it goes on. */
export async function withdrawRelease(
  db: Db,
  { model, version, by, at }: Pick<ReleaseRecord, 'model' | 'version' | 'by' | 'at'>,
): Promise<void> {
  await db
    .updateTable('releases')
    .set({ withdrawn_at: at })
    .where('model', '=', model)
    .where('version', '=', version)
    .execute();
  await audit(db).append({ actor: by, action: 'release.withdraw', subject: `${model}@${version}`, detail: {}, at });
}

async function readManifest(
  files: StoredFiles,
  { model, version, digest, manifestBytes }: ReleaseRecord,
): Promise<Buffer> {
  const stored = await files.bytesOf(digest);
  const wrong = (what: string) =>
    new RegistryError('RELEASE_TARGET_WRONG', `${model}@${version} ${what}.`, {
      where: digest,
      remedy: 'Make the release again with `drover model publish`, which uploads the manifest before it lists it.',
    });
  if (stored === undefined) {
    throw new RegistryError('RELEASE_FILES_MISSING', `The manifest of ${model}@${version} has not been uploaded.`, {
      where: digest,
      remedy: 'Upload it with PUT /api/v1/blobs/{sha256}, then publish again; `drover model publish` does both.',
    });
  }
  if (stored !== manifestBytes) throw wrong(`is listed with ${manifestBytes} bytes; its manifest has ${stored}`);
  const parts: Uint8Array[] = [];
  for await (const part of files.read(digest)) parts.push(part as Uint8Array);
  const bytes = Buffer.concat(parts);
  if (digestOf(bytes) !== digest) throw wrong('has a manifest that was damaged in the store');
  // It is kept as text beside the others.
  if (!Buffer.from(bytes.toString('utf8')).equals(bytes)) throw wrong('has a manifest that is not UTF-8');
  return bytes;
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

const exists = ({ model, version }: ReleaseManifest) =>
  new RegistryError('RELEASE_EXISTS', `${model}@${version} has been published already; releases never change.`, {
    remedy: 'Publish under a higher version.',
  });

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
