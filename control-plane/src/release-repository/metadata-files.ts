import { ModelName } from '@drover/shared/ids';
import {
  DEFAULT_LIMITS,
  expiresAtMs,
  metadataFileName,
  parseMetadata,
  type MetadataFile,
  type MetadataKind,
} from '@drover/shared/trust/tuf';
import type { Db } from '../database/index.js';
import { fileUnknown } from './errors.js';

/** What is in force: the newest version of every file. */
export interface CurrentMetadata {
  readonly root: MetadataFile<'root'>;
  readonly targets: MetadataFile<'targets'>;
  readonly models: ReadonlyMap<ModelName, MetadataFile<'targets'>>;
  readonly snapshot: MetadataFile<'snapshot'>;
  readonly timestamp: MetadataFile<'timestamp'>;
}

export interface StoredFile {
  readonly role: string;
  readonly version: number;
  readonly body: string;
}

const TOP_LEVEL: ReadonlySet<string> = new Set<MetadataKind>(['root', 'targets', 'snapshot', 'timestamp']);
export const isTopLevel = (role: string): role is MetadataKind => TOP_LEVEL.has(role);

/** `timestamp.json`, `3.root.json`, `12.gas-classifier.json`; without a version: the newest. */
const FILE_NAME = /^(?:([1-9]\d{0,15})\.)?([a-z0-9_-]{1,64})\.json$/;

/** The metadata as it was published, every version. Files were verified when they came in; devices verify them again. */
export function metadataFiles(db: Db) {
  const newest = (role: string) =>
    db
      .selectFrom('metadata_files')
      .select(['role', 'version', 'body'])
      .where('role', '=', role)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();

  return {
    /** undefined before a first root was published. */
    async current(): Promise<CurrentMetadata | undefined> {
      const newestOfEach = db
        .selectFrom('metadata_files')
        .select(({ fn }) => ['role', fn.max('version').as('version')])
        .groupBy('role')
        .as('newest');
      const rows = await db
        .selectFrom('metadata_files as file')
        .innerJoin(newestOfEach, (join) =>
          join.onRef('file.role', '=', 'newest.role').onRef('file.version', '=', 'newest.version'),
        )
        .select(['file.role as role', 'file.version as version', 'file.body as body'])
        .execute();
      const files = new Map(rows.map((row) => [row.role, row]));
      if (!files.has('root')) return undefined;
      const read = <Kind extends MetadataKind>(kind: Kind, role: string): MetadataFile<Kind> => {
        const row = files.get(role);
        // One transaction writes them together, so that one without the others is damage and no state.
        if (!row) throw new Error(`The release repository has a root and no ${role}.`);
        return parseStored(kind, row);
      };
      return {
        root: read('root', 'root'),
        targets: read('targets', 'targets'),
        snapshot: read('snapshot', 'snapshot'),
        timestamp: read('timestamp', 'timestamp'),
        models: new Map(
          rows
            .filter(({ role }) => !isTopLevel(role))
            .map((row) => [ModelName(row.role), parseStored('targets', row)] as const),
        ),
      };
    },

    find(name: string): Promise<StoredFile | undefined> {
      const [, version, role = ''] = FILE_NAME.exec(name) ?? [];
      return version === undefined
        ? newest(role)
        : db
            .selectFrom('metadata_files')
            .select(['role', 'version', 'body'])
            .where('role', '=', role)
            .where('version', '=', Number(version))
            .executeTakeFirst();
    },

    /** @throws RepositoryError REPOSITORY_FILE_UNKNOWN */
    async named(name: string): Promise<StoredFile> {
      const found = await this.find(name);
      if (found) return found;
      throw fileUnknown(name);
    },

    async store(role: string, file: MetadataFile, by: string, at: number): Promise<void> {
      await db
        .insertInto('metadata_files')
        .values({
          role,
          version: file.signed.version,
          body: Buffer.from(file.bytes).toString('utf8'),
          expires_at: expiresAtMs(file.signed),
          stored_at: at,
          stored_by: by,
        })
        .execute();
    },
  };
}

const parseStored = <Kind extends MetadataKind>(kind: Kind, { role, body }: StoredFile): MetadataFile<Kind> =>
  parseMetadata(kind, Buffer.from(body), {
    where: metadataFileName(role) ?? role,
    maxBytes: DEFAULT_LIMITS.maxTargetsBytes,
  });
