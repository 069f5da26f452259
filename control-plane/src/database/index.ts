export { DATABASE_CODES, DatabaseError, toDatabaseError } from './errors.js';
export { openDatabase, type OpenDatabase } from './open.js';
export { forbidChanges } from './append-only.js';
export type { Migration } from './migrate.js';
export type { Db, Tables } from './tables.js';
