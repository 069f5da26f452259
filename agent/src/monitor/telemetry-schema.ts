/**
 * Schema of telemetry.db, oldest script first. `servings` names what served (adaptation '' is the release itself); everything else refers to it.
 * Features are little-endian float32.
 */
export const TELEMETRY_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE servings (
    id INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    release TEXT NOT NULL,
    adaptation TEXT NOT NULL,
    UNIQUE (model, release, adaptation)
  ) STRICT;

  CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    serving INTEGER NOT NULL REFERENCES servings (id),
    request_id TEXT NOT NULL,
    row INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    features BLOB,
    prediction INTEGER,
    confidence REAL,
    label INTEGER,
    labelled_at_ms INTEGER
  ) STRICT;
  CREATE INDEX samples_by_serving ON samples (serving, id);
  CREATE INDEX samples_by_request ON samples (request_id, row);
  CREATE INDEX samples_labelled ON samples (labelled_at_ms) WHERE label IS NOT NULL;

  CREATE TABLE counts (
    serving INTEGER PRIMARY KEY REFERENCES servings (id),
    requests INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    inferences INTEGER NOT NULL,
    labelled INTEGER NOT NULL,
    correct INTEGER NOT NULL,
    confidence_count INTEGER NOT NULL,
    confidence_sum REAL NOT NULL,
    latencies TEXT NOT NULL,
    predictions TEXT NOT NULL
  ) STRICT;

  CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    serving INTEGER NOT NULL REFERENCES servings (id),
    after_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    decided_at_ms INTEGER NOT NULL,
    window_end_at_ms INTEGER NOT NULL,
    alarm INTEGER NOT NULL,
    in_a_row INTEGER NOT NULL,
    decision TEXT NOT NULL
  ) STRICT;
  CREATE INDEX verdicts_by_serving ON verdicts (serving, id);
  `,
];
