import type { Migration } from '../migrate.js';

/** What devices would like labelled, and what it was answered. */
export const labelRequests: Migration = {
  version: 11,
  name: 'label-requests',
  async up(db) {
    await db.schema
      .createTable('label_requests')
      .addColumn('number', 'integer', (column) => column.primaryKey().autoIncrement())
      .addColumn('id', 'text', (column) => column.notNull().unique())
      .addColumn('device_id', 'text', (column) => column.notNull().references('devices.id'))
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('request_id', 'text')
      .addColumn('row', 'bigint', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('requested_at', 'bigint', (column) => column.notNull())
      .addColumn('served_at', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('prediction', 'bigint', (column) => column.notNull())
      .addColumn('confidence', 'double precision')
      .addColumn('features', 'text')
      .addColumn('is_open', 'integer', (column) => column.notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('answered_at', 'bigint')
      .addColumn('answered_by', 'text')
      .addColumn('label', 'bigint')
      .addColumn('tried_at', 'bigint')
      .addColumn('became', 'text')
      .addColumn('became_at', 'bigint')
      .execute();
    await db.schema.createIndex('label_requests_by_device').on('label_requests').columns(['device_id']).execute();
    await db.schema
      .createIndex('label_requests_by_model')
      .on('label_requests')
      .columns(['model', 'is_open', 'number'])
      .execute();

    await db.schema
      .createTable('label_listings')
      .addColumn('device_id', 'text', (column) => column.primaryKey().references('devices.id'))
      .addColumn('sequence', 'bigint', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .execute();
  },
};
