import type { Migration } from '../migrate.js';

/** Which kinds of releases a device says that it takes: a JSON array, null where its agent says nothing about it. */
export const parameters: Migration = {
  version: 8,
  name: 'parameters',
  async up(db) {
    await db.schema.alterTable('device_states').addColumn('takes', 'text').execute();
  },
};
