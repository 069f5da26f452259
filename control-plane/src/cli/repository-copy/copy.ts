import { ModelName, type Digest } from '@drover/shared/ids';
import { allFiles } from '@drover/shared/manifest';
import type { MetadataFile } from '@drover/shared/trust/tuf';
import { releasesIn } from '../../release-repository/form.js';
import { byteTeller, fileLine, type Progress } from '../progress.js';
import { rootsOf } from '../release-metadata/roots.js';
import { findFile } from '../release-metadata/source.js';
import { repositoryFolder, type CopiedRole, type RepositoryFolder } from './folder.js';
import type { RepositorySource } from './source.js';

export interface CopyOptions {
  readonly source: RepositorySource;
  readonly out: string;
  /** Leaves out the files of releases. */
  readonly metadataOnly: boolean;
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

export interface Copied {
  readonly roles: readonly CopiedRole[];
  /** Those that were not there, or not intact. */
  readonly files: number;
}

/**
 * Copies all that publishers signed, and the files of the releases that are listed: every root, since devices follow them one by one, and the
 * newest of each other role. What is there already is kept, so that one folder can follow a repository, and an interrupted copy goes on where it
 * was. What names others is written after them: files, then the role that lists them, then targets. What the control plane signs by itself is
 * left out: another one has to sign that anew.
 *
 * @throws RepositoryError REPOSITORY_MISSING; CliError; TufError; what the source throws
 */
export async function copyRepository({ source, out, metadataOnly, signal, progress }: CopyOptions): Promise<Copied> {
  const folder = repositoryFolder(out);
  const roles: CopiedRole[] = [];
  const keep = async (role: string, { signed: { version }, bytes }: MetadataFile) => {
    await folder.writeMetadata(role, version, bytes);
    roles.push({ role, version });
  };
  for (const root of await rootsOf(source, signal)) await keep('root', root);
  const targets = await findFile(source, 'targets', 'targets.json', signal);
  let files = 0;
  for (const model of await source.models()) {
    const role = await findFile(source, 'targets', `${model}.json`, signal);
    if (!role) continue;
    if (!metadataOnly) files += await copyFiles({ source, folder, model, role, signal, progress });
    await keep(model, role);
  }
  if (targets) await keep('targets', targets);
  return { roles, files };
}

interface FilesOf extends Pick<CopyOptions, 'source' | 'signal' | 'progress'> {
  readonly folder: RepositoryFolder;
  readonly model: string;
  readonly role: MetadataFile<'targets'>;
}

async function copyFiles({ source, folder, model, role, signal, progress }: FilesOf): Promise<number> {
  let copied = 0;
  /** @returns false where it was there already */
  const take = async (digest: Digest): Promise<boolean> => {
    signal.throwIfAborted();
    if (await folder.hasIntact(digest, signal)) return false;
    await folder.writeFile(digest, counted(source.file(digest, signal), byteTeller(progress, 'of it copied')), signal);
    copied += 1;
    return true;
  };
  for (const { version, digest } of releasesIn(ModelName(model), role.signed)) {
    await take(digest);
    const files = allFiles(folder.manifest(digest));
    for (const [index, { digest: each, bytes }] of files.entries()) {
      const told = { at: index + 1, of: files.length, digest: each, bytes };
      if (await take(each)) progress(fileLine(told, 'copied'));
    }
    progress(`${model}@${version}`);
  }
  return copied;
}

async function* counted(parts: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const part of parts) {
    bytes += part.length;
    tell(bytes);
    yield part;
  }
}
