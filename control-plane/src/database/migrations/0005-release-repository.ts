import { sql } from 'kysely';
import { forbidChanges } from '../append-only.js';
import type { Migration } from '../migrate.js';

/**
 * Releases become targets of a TUF repository. What was signed in envelopes by a plain set of keys cannot be taken over, since no role of the
 * repository has signed it: publish it again.
 */
export const releaseRepository: Migration = {
  version: 5,
  name: 'release-repository',
  async up(db) {
    await db.schema.dropTable('publisher_key_sets').execute();
    await sql`update releases set parent = null`.execute(db);
    await db.schema.dropTable('releases').execute();
    await db.schema
      .createTable('releases')
      .addColumn('digest', 'text', (column) => column.primaryKey())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('parent', 'text', (column) => column.references('releases.digest'))
      .addColumn('manifest', 'text', (column) => column.notNull())
      .addColumn('published_at', 'bigint', (column) => column.notNull())
      .addColumn('published_by', 'text', (column) => column.notNull())
      .addColumn('withdrawn_at', 'bigint')
      .addUniqueConstraint('releases_model_version', ['model', 'version'])
      .execute();

    await db.schema
      .createTable('metadata_files')
      .addColumn('role', 'text', (column) => column.notNull())
      .addColumn('version', 'bigint', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('stored_at', 'bigint', (column) => column.notNull())
      .addColumn('stored_by', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('metadata_files_key', ['role', 'version'])
      .execute();
    await forbidChanges(db, 'metadata_files');
  },
};
