import { sql, type Kysely } from 'kysely';

/**
 * Makes the database itself refuse to change or delete rows of a table. Triggers are the one thing here that each kind of database
 * writes differently; PostgreSQL gets its own branch in this function.
 */
export async function forbidChanges(db: Kysely<unknown>, table: string): Promise<void> {
  for (const event of ['update', 'delete'] as const) {
    await sql`create trigger ${sql.id(`${table}_forbids_${event}`)} before ${sql.raw(event)} on ${sql.table(table)}
      begin select raise(abort, ${sql.lit(`${table} is append-only`)}); end`.execute(db);
  }
}
