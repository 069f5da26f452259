import { mkdtemp, copyFile, rm } from 'node:fs/promises';
import { createReadStream, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMetadata, type MetadataFile } from '@drover/shared/trust/tuf';
import { openDatabase } from '../../database/index.js';
import { DATABASE_FILE } from '../../recovery/backup-document.js';
import { metadataFiles } from '../../release-repository/metadata-files.js';
import type { Client } from '../client.js';
import { CliError, RemoteError } from '../errors.js';

/** Where the release repository is copied from. */
export interface RepositorySource {
  /** A metadata file by its name, with or without a version; undefined where there is none. */
  metadata(name: string): Promise<Uint8Array | undefined>;
  /** Names of the roles of models. */
  models(): Promise<string[]>;
  file(hex: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const TOP_LEVEL = new Set(['root', 'targets', 'snapshot', 'timestamp']);

export const controlPlaneSource = (client: Client): RepositorySource => ({
  async metadata(name) {
    try {
      return encodeMetadata(await client.get<Omit<MetadataFile, 'bytes'>>(`/repository/metadata/${name}`));
    } catch (error) {
      if (error instanceof RemoteError && error.code === 'REPOSITORY_FILE_UNKNOWN') return undefined;
      throw error;
    }
  },
  async models() {
    const { roles } = await client.get<{ roles: { role: string }[] }>('/repository');
    return roles.map(({ role }) => role).filter((role) => !TOP_LEVEL.has(role));
  },
  file: (hex, signal) => client.read(`/blobs/${hex}`, signal),
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
      file: (hex) => createReadStream(join(backup, 'blobs', hex.slice(0, 2), hex)),
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
