/** Schema of outbox.db, oldest script first. */
export const OUTBOX_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE reports (sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE dropped (kind TEXT PRIMARY KEY, reports INTEGER NOT NULL) STRICT;
  `,
];
