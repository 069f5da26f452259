import type { Migration } from '../migrate.js';

/** Since when a restored database knows nothing: what this control plane did from then on, devices know and it doesn't. */
export const lostHistory: Migration = {
  version: 6,
  name: 'lost-history',
  async up(db) {
    await db.schema.alterTable('recoveries').addColumn('lost_from', 'bigint').execute();
  },
};
