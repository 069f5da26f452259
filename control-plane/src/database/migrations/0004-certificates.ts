import type { Migration } from '../migrate.js';

/** Client certificates of devices, revocation, and claim tokens for one device. */
export const certificates: Migration = {
  version: 4,
  name: 'certificates',
  async up(db) {
    await db.schema.alterTable('claim_tokens').addColumn('device_id', 'text').execute();
    await db.schema.alterTable('devices').addColumn('revoked_at', 'bigint').execute();
    await db.schema.alterTable('devices').addColumn('revoked_by', 'text').execute();
    await db.schema.alterTable('devices').addColumn('revocation_reason', 'text').execute();
    // Without a reference to the device: what was issued stays on record, and on the revocation list, whatever becomes of it.
    await db.schema
      .createTable('device_certificates')
      .addColumn('serial', 'text', (column) => column.primaryKey())
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('key_id', 'text', (column) => column.notNull())
      .addColumn('authority', 'integer', (column) => column.notNull())
      .addColumn('issued_at', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('first_used_at', 'bigint')
      .addColumn('revoked_at', 'bigint')
      .execute();
    await db.schema
      .createIndex('device_certificates_device')
      .on('device_certificates')
      .columns(['device_id', 'issued_at'])
      .execute();
  },
};
