import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { createReadStream, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestHex, type Digest } from '@drover/shared/ids';
import { blobPath } from '../../blobs/path.js';
import { openDatabase } from '../../database/index.js';
import { DATABASE_FILE } from '../../recovery/backup-document.js';
import { metadataFiles } from '../../release-repository/metadata-files.js';
import type { Client } from '../client.js';
import { CliError } from '../errors.js';
import { unreadable } from '../files.js';
import { controlPlaneMetadata, type MetadataSource } from '../release-metadata/source.js';
import { modelsIn, publishedState } from '../release-metadata/state.js';

/** Where the release repository is copied from. */
export interface RepositorySource extends MetadataSource {
  /** Names of the roles of models. */
  models(): Promise<string[]>;
  /** @throws CodedError where it cannot be read; the signal's reason */
  file(digest: Digest, signal: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export const controlPlaneSource = (client: Client): RepositorySource => ({
  ...controlPlaneMetadata(client),
  models: async () => modelsIn(await publishedState(client)),
  file: (digest, signal) => client.read(`/blobs/${digestHex(digest)}`, signal),
  close: () => Promise.resolve(),
});

/** A folder that `drover backup` wrote. Its database is opened as a copy: opening would change it, and it may be of an older version. */
export async function backupSource(backup: string): Promise<RepositorySource> {
  const database = join(backup, DATABASE_FILE);
  if (!existsSync(database)) {
    throw new CliError('CLI_FILE_UNREADABLE', 'There is no database of a control plane in this folder.', {
      where: database,
      remedy: 'Name a folder that `drover backup` wrote.',
    });
  }
  const folder = await mkdtemp(join(tmpdir(), 'drover-backup-'));
  const forget = () => rm(folder, { recursive: true, force: true });
  try {
    await copyFile(database, join(folder, DATABASE_FILE));
    const db = await openDatabase({ file: join(folder, DATABASE_FILE) });
    const files = metadataFiles(db);
    return {
      async metadata(name) {
        const found = await files.find(name);
        return found && Buffer.from(found.body);
      },
      models: async () => [...((await files.current())?.models.keys() ?? [])],
      file: (digest) => bytesOf(blobPath(join(backup, 'blobs'), digest)),
      async close() {
        await db.destroy();
        await forget();
      },
    };
  } catch (error) {
    await forget();
    throw error;
  }
}

async function* bytesOf(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of createReadStream(file) as AsyncIterable<Uint8Array>) yield part;
  } catch (cause) {
    throw unreadable(file, cause);
  }
}
