import { openAsBlob } from 'node:fs';
import { digestHex, ModelName } from '@drover/shared/ids';
import { allFiles, parseRelease } from '@drover/shared/manifest';
import type { MetadataFile } from '@drover/shared/trust/tuf';
import type { RepositoryState } from '../../release-repository/index.js';
import type { PublishedRole, SentDocument } from '../../release-repository/index.js';
import { releasesIn } from '../../release-repository/form.js';
import type { Client } from '../client.js';
import { readFile } from '../files.js';
import { repositoryFolder, type RepositoryFolder } from './folder.js';

export interface PublishCopyOptions {
  readonly client: Client;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/**
 * Publishes again what the control plane does not have (any more): the roots that follow its own, and each role of which the folder has a newer
 * version, with the files of its releases. All of it was signed before, so no key is needed, and the control plane checks it as ever.
 *
 * @returns what was published; nothing where the control plane has everything
 * @throws CliError, RemoteError
 */
export async function publishCopy({ client, folder, signal, progress }: PublishCopyOptions): Promise<PublishedRole[]> {
  const copy = repositoryFolder(folder);
  const { roles: present } = await client.get<RepositoryState>('/repository');
  const versions = new Map(present.map(({ role, version }) => [role, version]));
  const newer = copy.roles().filter(({ role, version }) => version > (versions.get(role) ?? 0));
  const documents: SentDocument[] = newer
    .filter(({ role }) => role === 'root')
    .map((copied) => documentOf('root', copy.read('root', copied)));
  const newestOf = new Map(newer.filter(({ role }) => role !== 'root').map((copied) => [copied.role, copied]));
  for (const copied of newestOf.values()) {
    const file = copy.read('targets', copied);
    documents.push(documentOf(copied.role, file));
    if (copied.role !== 'targets') await uploadReleases({ client, copy, model: copied.role, file, signal, progress });
  }
  if (documents.length === 0) return [];
  const { items } = await client.send<{ items: PublishedRole[] }>('POST', '/repository/publications', { documents });
  return items;
}

const documentOf = (role: string, { signed, signatures }: MetadataFile): SentDocument => ({ role, signed, signatures });

interface Upload extends Pick<PublishCopyOptions, 'client' | 'signal' | 'progress'> {
  readonly copy: RepositoryFolder;
  readonly model: string;
  readonly file: MetadataFile<'targets'>;
}

async function uploadReleases({ client, copy, model, file, signal, progress }: Upload): Promise<void> {
  const upload = async (hex: string): Promise<void> => {
    signal.throwIfAborted();
    if (await client.hasBlob(hex)) return;
    await client.putBlob(hex, await openAsBlob(copy.pathOf(hex)));
  };
  for (const { version, digest } of releasesIn(ModelName(model), file.signed)) {
    const hex = digestHex(digest);
    // Not copied, where only metadata was: then the control plane has to have it, and says so if it has not.
    if (!copy.hasFile(hex)) continue;
    for (const { digest: each } of allFiles(parseRelease(readFile(copy.pathOf(hex))))) await upload(digestHex(each));
    await upload(hex);
    progress(`${model}@${version}`);
  }
}
