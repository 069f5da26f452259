import { forbidChanges } from '../append-only.js';
import type { Migration } from '../migrate.js';

/** Governance (tokens, audit), registry (publisher keys, releases) and devices (claim tokens, enrolled devices, their attributes). */
export const foundation: Migration = {
  version: 1,
  name: 'foundation',
  async up(db) {
    await db.schema
      .createTable('tokens')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('role', 'text', (column) => column.notNull())
      .addColumn('token_hash', 'text', (column) => column.notNull().unique())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('created_by', 'text', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('audit')
      .addColumn('sequence', 'bigint', (column) => column.primaryKey())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('actor', 'text', (column) => column.notNull())
      .addColumn('action', 'text', (column) => column.notNull())
      .addColumn('subject', 'text', (column) => column.notNull())
      .addColumn('detail', 'text', (column) => column.notNull())
      .addColumn('previous_hash', 'text', (column) => column.notNull())
      .addColumn('hash', 'text', (column) => column.notNull())
      .execute();
    await forbidChanges(db, 'audit');

    await db.schema
      .createTable('publisher_key_sets')
      .addColumn('sequence', 'bigint', (column) => column.primaryKey())
      .addColumn('key_set', 'text', (column) => column.notNull())
      .addColumn('set_at', 'bigint', (column) => column.notNull())
      .addColumn('set_by', 'text', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('releases')
      .addColumn('digest', 'text', (column) => column.primaryKey())
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('parent', 'text', (column) => column.references('releases.digest'))
      .addColumn('envelope', 'text', (column) => column.notNull())
      .addColumn('published_at', 'bigint', (column) => column.notNull())
      .addColumn('published_by', 'text', (column) => column.notNull())
      .addUniqueConstraint('releases_model_version', ['model', 'version'])
      .execute();

    await db.schema
      .createTable('claim_tokens')
      .addColumn('token_hash', 'text', (column) => column.primaryKey())
      .addColumn('attributes', 'text', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .addColumn('uses_left', 'integer', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('created_by', 'text', (column) => column.notNull())
      .execute();

    await db.schema
      .createTable('claim_token_uses')
      .addColumn('token_hash', 'text', (column) => column.notNull().references('claim_tokens.token_hash'))
      .addColumn('device_id', 'text', (column) => column.notNull())
      .addColumn('used_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('claim_token_uses_key', ['token_hash', 'device_id'])
      .execute();

    await db.schema
      .createTable('devices')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('public_key', 'text', (column) => column.notNull())
      .addColumn('key_id', 'text', (column) => column.notNull())
      .addColumn('credential_hash', 'text', (column) => column.notNull())
      .addColumn('hardware_class', 'text', (column) => column.notNull())
      .addColumn('agent_version', 'text', (column) => column.notNull())
      .addColumn('enrolled_at', 'bigint', (column) => column.notNull())
      .addColumn('last_seen_at', 'bigint')
      .addColumn('connected', 'integer', (column) => column.notNull().defaultTo(0))
      .execute();

    await db.schema
      .createTable('device_attributes')
      .addColumn('device_id', 'text', (column) => column.notNull().references('devices.id').onDelete('cascade'))
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('value', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('device_attributes_key', ['device_id', 'name'])
      .execute();
    await db.schema.createIndex('device_attributes_value').on('device_attributes').columns(['name', 'value']).execute();
  },
};
