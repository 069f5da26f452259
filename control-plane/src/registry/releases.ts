import { compare } from 'semver';
import { digestOf, type Digest, type ModelName, type Version } from '@drover/shared/ids';
import { parseRelease, type ReleaseManifest } from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import { RegistryError } from './errors.js';
import type { ReleaseTable } from './tables.js';

export interface Release {
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Digest;
  readonly parent?: Digest;
  readonly manifest: ReleaseManifest;
  /** Milliseconds since 1970. */
  readonly publishedAt: number;
  readonly publishedBy: string;
  /** Since when publishers no longer stand by it: no device takes it any more. */
  readonly withdrawnAt?: number;
}

export interface ModelSummary {
  readonly model: ModelName;
  readonly releases: number;
  /** Highest by semver precedence. */
  readonly newest: Version;
  readonly lastPublishedAt: number;
}

/** Reading what was published. The manifests were verified when they came in; devices verify them again. */
export function releases(db: Db) {
  const select = () => db.selectFrom('releases').selectAll();
  return {
    async models(): Promise<ModelSummary[]> {
      const rows = await db
        .selectFrom('releases')
        .select(['model', 'version', 'published_at'])
        .orderBy('model')
        .execute();
      return [...byModel(rows)].map(([model, own]) => ({
        model,
        releases: own.length,
        newest: own.map(({ version }) => version).reduce((a, b) => (compare(a, b) >= 0 ? a : b)),
        lastPublishedAt: Math.max(...own.map(({ published_at }) => published_at)),
      }));
    },

    /** All releases of a model, oldest version first. @throws RegistryError MODEL_UNKNOWN */
    async of(model: ModelName): Promise<Release[]> {
      const rows = await select().where('model', '=', model).execute();
      if (rows.length === 0) throw unknownModel(model);
      return rows.map(toRelease).sort((a, b) => compare(a.version, b.version));
    },

    async find(model: ModelName, version: Version): Promise<Release | undefined> {
      const row = await select().where('model', '=', model).where('version', '=', version).executeTakeFirst();
      return row && toRelease(row);
    },

    /** @throws RegistryError RELEASE_UNKNOWN */
    async get(model: ModelName, version: Version): Promise<Release> {
      const release = await this.find(model, version);
      if (release) return release;
      throw new RegistryError('RELEASE_UNKNOWN', `${model}@${version} has not been published.`, {
        remedy: `Look for its version in \`drover model show ${model}\`, or publish it.`,
      });
    },

    async findByDigest(digest: Digest): Promise<Release | undefined> {
      const row = await select().where('digest', '=', digest).executeTakeFirst();
      return row && toRelease(row);
    },

    async count(): Promise<number> {
      const row = await db
        .selectFrom('releases')
        .select(({ fn }) => fn.countAll<number | string>().as('count'))
        .executeTakeFirstOrThrow();
      return Number(row.count);
    },
  };
}

const unknownModel = (model: ModelName) =>
  new RegistryError('MODEL_UNKNOWN', `Nothing has been published under the name "${model}".`, {
    remedy: 'Look for the name in `drover model list`, or publish a first release.',
  });

function byModel<Row extends { readonly model: ModelName }>(rows: readonly Row[]): Map<ModelName, Row[]> {
  const groups = new Map<ModelName, Row[]>();
  for (const row of rows) groups.set(row.model, [...(groups.get(row.model) ?? []), row]);
  return groups;
}

function toRelease(row: ReleaseTable): Release {
  const bytes = Buffer.from(row.manifest);
  return {
    model: row.model,
    version: row.version,
    digest: digestOf(bytes),
    ...(row.parent === null ? {} : { parent: row.parent }),
    manifest: parseRelease(bytes),
    publishedAt: row.published_at,
    publishedBy: row.published_by,
    ...(row.withdrawn_at === null ? {} : { withdrawnAt: row.withdrawn_at }),
  };
}
