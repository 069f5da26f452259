import { digestHex, ModelName } from '@drover/shared/ids';
import { allFiles, parseRelease } from '@drover/shared/manifest';
import {
  DEFAULT_LIMITS,
  metadataFileName,
  parseMetadata,
  type MetadataFile,
  type MetadataKind,
} from '@drover/shared/trust/tuf';
import { repositoryMissing } from '../../release-repository/errors.js';
import { releasesIn } from '../../release-repository/form.js';
import { readFile } from '../files.js';
import { repositoryFolder, type CopiedRole, type RepositoryFolder } from './folder.js';
import type { RepositorySource } from './source.js';

export interface CopyOptions {
  readonly source: RepositorySource;
  readonly out: string;
  /** Leaves out the files of releases. */
  readonly metadataOnly: boolean;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

export interface Copied {
  readonly roles: readonly CopiedRole[];
  readonly files: number;
}

/**
 * Copies all that publishers signed, and the files of the releases that are listed: every root, since devices follow them one by one, and the
 * newest of each other role. What is there already is kept, so that one folder can follow a repository. What the control plane signs by
 * itself is left out: another one has to sign that anew.
 *
 * @throws RepositoryError REPOSITORY_MISSING; CliError; what the source throws
 */
export async function copyRepository({ source, out, metadataOnly, signal, progress }: CopyOptions): Promise<Copied> {
  const folder = repositoryFolder(out);
  const roles: CopiedRole[] = [];
  const keep = (role: string, { signed: { version }, bytes }: MetadataFile) => {
    folder.writeMetadata(role, version, bytes);
    roles.push({ role, version });
  };
  const newestRoot = await newest(source, 'root', 'root');
  if (!newestRoot) throw repositoryMissing();
  keep('root', newestRoot);
  for (let version = newestRoot.signed.version - 1; version >= 1; version -= 1) {
    const bytes = await source.metadata(`${version}.root.json`);
    // A repository that was published again may begin later than with version 1.
    if (!bytes) break;
    keep('root', read('root', `${version}.root.json`, bytes));
  }
  const targets = await newest(source, 'targets', 'targets');
  if (targets) keep('targets', targets);
  let files = 0;
  for (const model of await source.models()) {
    const role = await newest(source, 'targets', model);
    if (!role) continue;
    keep(model, role);
    if (!metadataOnly) files += await copyFiles({ source, folder, model, role, signal, progress });
  }
  return { roles, files };
}

const read = <Kind extends MetadataKind>(kind: Kind, where: string, bytes: Uint8Array): MetadataFile<Kind> =>
  parseMetadata(kind, bytes, { where, maxBytes: DEFAULT_LIMITS.maxTargetsBytes });

async function newest<Kind extends MetadataKind>(
  source: RepositorySource,
  kind: Kind,
  role: string,
): Promise<MetadataFile<Kind> | undefined> {
  const name = metadataFileName(role) ?? `${role}.json`;
  const bytes = await source.metadata(name);
  return bytes && read(kind, name, bytes);
}

interface FilesOf extends Pick<CopyOptions, 'source' | 'signal' | 'progress'> {
  readonly folder: RepositoryFolder;
  readonly model: string;
  readonly role: MetadataFile<'targets'>;
}

async function copyFiles({ source, folder, model, role, signal, progress }: FilesOf): Promise<number> {
  let copied = 0;
  const take = async (hex: string): Promise<void> => {
    signal.throwIfAborted();
    if (folder.hasFile(hex)) return;
    await folder.writeFile(hex, source.file(hex, signal));
    copied += 1;
  };
  for (const { version, digest } of releasesIn(ModelName(model), role.signed)) {
    const hex = digestHex(digest);
    await take(hex);
    for (const file of allFiles(parseRelease(readFile(folder.pathOf(hex))))) await take(digestHex(file.digest));
    progress(`${model}@${version}`);
  }
  return copied;
}
