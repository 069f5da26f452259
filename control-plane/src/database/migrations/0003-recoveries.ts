import type { Migration } from '../migrate.js';

/** Restored backups, and the root-signed statements that ended them. */
export const recoveries: Migration = {
  version: 3,
  name: 'recoveries',
  async up(db) {
    await db.schema
      .createTable('recoveries')
      .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('begun_at', 'bigint', (column) => column.notNull())
      .addColumn('epoch', 'bigint', (column) => column.unique())
      .addColumn('statement', 'text')
      .addColumn('ended_at', 'bigint')
      .execute();
  },
};
