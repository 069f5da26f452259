import type { Migration } from '../migrate.js';

/** What became of inputs that devices held against the contract of their release: sums of an hour, and of each rule that was broken in it. */
export const inputHours: Migration = {
  version: 9,
  name: 'input-hours',
  async up(db) {
    await db.schema
      .createTable('input_hours')
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      // Empty for the release itself.
      .addColumn('adaptation', 'text', (column) => column.notNull())
      .addColumn('hour', 'bigint', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('rows', 'bigint', (column) => column.notNull())
      .addColumn('refused_requests', 'bigint', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('input_hours_key', ['device_id', 'digest', 'adaptation', 'hour'])
      .execute();
    await db.schema.createIndex('input_hours_model').on('input_hours').columns(['model', 'received_at']).execute();
    await db.schema.createIndex('input_hours_age').on('input_hours').columns(['received_at']).execute();

    await db.schema
      .createTable('input_violations')
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('adaptation', 'text', (column) => column.notNull())
      .addColumn('rule', 'integer', (column) => column.notNull())
      .addColumn('hour', 'bigint', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('input', 'text', (column) => column.notNull())
      .addColumn('feature', 'text', (column) => column.notNull())
      .addColumn('says', 'text', (column) => column.notNull())
      .addColumn('rows', 'bigint', (column) => column.notNull())
      .addColumn('windows', 'bigint', (column) => column.notNull())
      .addColumn('windows_below', 'bigint', (column) => column.notNull())
      .addColumn('is_below', 'integer')
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('input_violations_key', ['device_id', 'digest', 'adaptation', 'rule', 'hour'])
      .execute();
    await db.schema
      .createIndex('input_violations_model')
      .on('input_violations')
      .columns(['model', 'received_at'])
      .execute();
    await db.schema.createIndex('input_violations_age').on('input_violations').columns(['received_at']).execute();
  },
};
