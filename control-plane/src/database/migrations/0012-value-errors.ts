import type { Migration } from '../migrate.js';

/** Of the values of a regression whose truth has arrived: how many there are, and sums of what they were too large by, of its magnitude, and of its square. */
export const valueErrors: Migration = {
  version: 12,
  name: 'value-errors',
  async up(db) {
    await db.schema
      .alterTable('serving_counts')
      .addColumn('error_count', 'bigint', (column) => column.notNull().defaultTo(0))
      .execute();
    for (const sum of ['error_sum', 'error_absolute', 'error_squared'] as const) {
      await db.schema
        .alterTable('serving_counts')
        .addColumn(sum, 'double precision', (column) => column.notNull().defaultTo(0))
        .execute();
    }
  },
};
