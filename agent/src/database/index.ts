export { openSqlite, type SqliteDatabase, type SqliteOptions } from './sqlite.js';
export { DATABASE_CODES, DatabaseError, isCorruption, toDatabaseError } from './errors.js';
