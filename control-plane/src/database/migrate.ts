import type { Kysely } from 'kysely';
import { DatabaseError } from './errors.js';
import type { Tables } from './tables.js';

/** One step of the schema, forward only. It uses its own table names and never imports `tables.ts`, because it must not change later. */
export interface Migration {
  /** Ascending from 1 without gaps: the schema's version after this step. */
  readonly version: number;
  readonly name: string;
  readonly up: (db: Kysely<unknown>) => Promise<void>;
}

/**
 * Brings the schema to the newest version, each step in a transaction of its own.
 *
 * @throws DatabaseError DATABASE_NEWER if a newer binary has been at work here: an old one might destroy what it does not know.
 */
export async function migrate(
  db: Kysely<Tables>,
  migrations: readonly Migration[],
  now: () => number,
): Promise<{ from: number; to: number }> {
  migrations.forEach(({ version, name }, index) => {
    if (version !== index + 1) throw new Error(`Migration ${name} has version ${version}, expected ${index + 1}.`);
  });
  await db.schema
    .createTable('schema_versions')
    .ifNotExists()
    .addColumn('version', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('applied_at', 'bigint', (column) => column.notNull())
    .execute();
  const newest = await db
    .selectFrom('schema_versions')
    .selectAll()
    .orderBy('version', 'desc')
    .limit(1)
    .executeTakeFirst();
  const from = newest?.version ?? 0;
  if (from > migrations.length) {
    throw new DatabaseError(
      'DATABASE_NEWER',
      `The database has schema ${from} ("${newest?.name ?? ''}"); this control plane knows schemas up to ${migrations.length}.`,
      { remedy: 'Start the newer version of the control plane again, or restore the backup made before the upgrade.' },
    );
  }
  for (const { version, name, up } of migrations.slice(from)) {
    await db.transaction().execute(async (trx) => {
      await up(trx as unknown as Kysely<unknown>);
      await trx.insertInto('schema_versions').values({ version, name, applied_at: now() }).execute();
    });
  }
  return { from, to: migrations.length };
}
