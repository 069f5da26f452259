import { openAsBlob } from 'node:fs';
import { digestHex, ModelName, type Digest } from '@drover/shared/ids';
import { allFiles } from '@drover/shared/manifest';
import { delegationOf, signedByHolders } from '@drover/shared/trust/ceremony';
import type { MetadataFile, Targets } from '@drover/shared/trust/tuf';
import { releasesIn } from '../../release-repository/form.js';
import type { PublishedRole, SentDocument } from '../../release-repository/index.js';
import { isTopLevel } from '../../release-repository/metadata-files.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { unreadable } from '../files.js';
import { fileLine, type Progress } from '../progress.js';
import { controlPlaneMetadata, findFile } from '../release-metadata/source.js';
import { publishedState } from '../release-metadata/state.js';
import { toBatches } from './batches.js';
import { repositoryFolder, type RepositoryFolder } from './folder.js';

export interface PublishCopyOptions {
  readonly client: Client;
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/**
 * Publishes again what the control plane does not have (any more): the roots that follow its own, and each role of which the folder has a newer
 * version, with the files of its releases. All of it was signed before, so no key is needed, and the control plane checks it as ever. What it has
 * got already is not sent again, so that an interrupted call is finished by the same call.
 *
 * @returns what was published; nothing where the control plane has everything
 * @throws CliError, TufError, ManifestError, RemoteError
 */
export async function publishCopy({ client, folder, signal, progress }: PublishCopyOptions): Promise<PublishedRole[]> {
  const copy = repositoryFolder(folder);
  const { roles: present } = await publishedState(client);
  const versions = new Map(present.map(({ role, version }) => [role, version]));
  const newer = copy.roles().filter(({ role, version }) => version > (versions.get(role) ?? 0));
  const roots = newer.filter(({ role }) => role === 'root').map((copied) => copy.read('root', copied));
  // Sorted by version: the newest of each stays.
  const newest = new Map(newer.map((copied) => [copied.role, copied]));
  const targetsCopied = newest.get('targets');
  const targets = targetsCopied && copy.read('targets', targetsCopied);

  const together = roots.map((root) => documentOf('root', root));
  if (targets) together.push(documentOf('targets', targets));
  const others: SentDocument[] = [];
  for (const copied of newest.values()) {
    const { role: model } = copied;
    if (isTopLevel(model)) continue;
    const role = copy.read('targets', copied);
    await uploadReleases({ client, copy, model, role, signal, progress });
    const isBound = targets && versions.has(model) && !(await isStillSigned(client, model, targets.signed, signal));
    (isBound === true ? together : others).push(documentOf(model, role));
  }

  const published: PublishedRole[] = [];
  for (const documents of toBatches({ together, others })) {
    signal.throwIfAborted();
    const { items } = await client.send<{ items: PublishedRole[] }>('POST', '/repository/publications', { documents });
    published.push(...items);
  }
  return published;
}

const documentOf = (role: string, { signed, signatures }: MetadataFile): SentDocument => ({ role, signed, signatures });

/** Whether what the control plane has of a model holds under these targets too; else they cannot be published without its new role. */
async function isStillSigned(client: Client, model: string, targets: Targets, signal: AbortSignal): Promise<boolean> {
  const delegation = delegationOf(targets, model);
  const file = await findFile(controlPlaneMetadata(client), 'targets', `${model}.json`, signal);
  if (!delegation || !file) return false;
  return signedByHolders(file, delegation.keyids, targets.delegations?.keys ?? {}).length >= delegation.threshold;
}

interface Upload extends Pick<PublishCopyOptions, 'client' | 'signal' | 'progress'> {
  readonly copy: RepositoryFolder;
  readonly model: string;
  readonly role: MetadataFile<'targets'>;
}

/** The files of each release, and its manifest last. */
async function uploadReleases({ client, copy, model, role, signal, progress }: Upload): Promise<void> {
  for (const { version, digest, manifestBytes } of releasesIn(ModelName(model), role.signed)) {
    signal.throwIfAborted();
    if (!copy.has(digest)) {
      if (await client.hasBlob(digestHex(digest), signal)) continue;
      throw new CliError('CLI_FILE_UNREADABLE', `The manifest of ${model}@${version} is not in this copy.`, {
        where: copy.pathOf(digest),
        remedy:
          'The control plane has lost it too: take a copy with the files of releases (without --metadata-only), or publish another that has them.',
      });
    }
    const files = [...allFiles(copy.manifest(digest)), { digest, bytes: manifestBytes }];
    for (const [index, file] of files.entries()) {
      signal.throwIfAborted();
      if (await client.hasBlob(digestHex(file.digest), signal)) continue;
      await client.putBlob(digestHex(file.digest), await blobIn(copy, file.digest), signal);
      progress(fileLine({ at: index + 1, of: files.length, ...file }, 'uploaded'));
    }
    progress(`${model}@${version}`);
  }
}

/** Read from the disk while it is sent. @throws CliError CLI_FILE_UNREADABLE */
async function blobIn(copy: RepositoryFolder, digest: Digest): Promise<Blob> {
  const file = copy.pathOf(digest);
  try {
    return await openAsBlob(file);
  } catch (cause) {
    throw unreadable(file, cause);
  }
}
