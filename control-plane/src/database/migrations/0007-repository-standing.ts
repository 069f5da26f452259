import type { Migration } from '../migrate.js';

/** What a device says of its trust in the release repository, in its newest state. */
export const repositoryStanding: Migration = {
  version: 7,
  name: 'repository-standing',
  async up(db) {
    await db.schema.alterTable('device_states').addColumn('repository', 'text').execute();
    await db.schema.alterTable('device_states').addColumn('stale_code', 'text').execute();
  },
};
