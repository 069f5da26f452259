import type { Migration } from '../migrate.js';

/** Releases that are tried beside those that serve: on which devices, by which orders, and what was found. */
export const trials: Migration = {
  version: 10,
  name: 'trials',
  async up(db) {
    await db.schema
      .createTable('trials')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('request', 'text', (column) => column.notNull())
      .addColumn('until', 'bigint', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('created_by', 'text', (column) => column.notNull())
      .addColumn('ended_at', 'bigint')
      .addColumn('ended_by', 'text')
      .execute();
    await db.schema.createIndex('trials_by_model').on('trials').columns(['model', 'until']).execute();

    await db.schema
      .createTable('trial_devices')
      .addColumn('trial_id', 'text', (column) => column.notNull().references('trials.id'))
      .addColumn('device_id', 'text', (column) => column.notNull().references('devices.id'))
      .addPrimaryKeyConstraint('trial_devices_key', ['trial_id', 'device_id'])
      .execute();

    await db.schema
      .createTable('trial_comparisons')
      .addColumn('report_id', 'bigint', (column) => column.notNull())
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('candidate', 'text', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('counts', 'text', (column) => column.notNull())
      .execute();
    await db.schema
      .createIndex('trial_comparisons_by_candidate')
      .on('trial_comparisons')
      .columns(['candidate', 'device_id', 'received_at'])
      .execute();
    await db.schema.createIndex('trial_comparisons_by_report').on('trial_comparisons').columns(['report_id']).execute();

    await db.schema.alterTable('orders').addColumn('trial', 'text').execute();
    await db.schema.alterTable('orders').addColumn('trial_id', 'text').execute();
    await db.schema.createIndex('orders_by_trial').on('orders').columns(['trial_id']).execute();
  },
};
