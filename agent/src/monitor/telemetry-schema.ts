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
  // Labels that were refused because their row had another.
  'ALTER TABLE counts ADD COLUMN conflicting INTEGER NOT NULL DEFAULT 0;',
  // Hours are counted since 1970, by the clock of the device.
  `
  CREATE TABLE input_hours (
    id INTEGER PRIMARY KEY,
    serving INTEGER NOT NULL REFERENCES servings (id),
    hour INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    refused_requests INTEGER NOT NULL,
    has_changed INTEGER NOT NULL,
    reported_at_ms INTEGER NOT NULL,
    UNIQUE (serving, hour)
  ) STRICT;
  CREATE INDEX input_hours_changed ON input_hours (reported_at_ms) WHERE has_changed = 1;

  CREATE TABLE input_violations (
    input_hour INTEGER NOT NULL REFERENCES input_hours (id) ON DELETE CASCADE,
    rule INTEGER NOT NULL,
    input TEXT NOT NULL,
    feature TEXT NOT NULL,
    says TEXT NOT NULL,
    rows INTEGER NOT NULL,
    windows INTEGER NOT NULL,
    windows_below INTEGER NOT NULL,
    share REAL,
    is_below INTEGER,
    PRIMARY KEY (input_hour, rule)
  ) STRICT, WITHOUT ROWID;
  `,
  // A targeted label was asked for because the model was unsure, and counts apart from the others. Budgets: monitor/labelling/budget.ts.
  `
  ALTER TABLE counts ADD COLUMN targeted INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE counts ADD COLUMN targeted_correct INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE samples ADD COLUMN targeted INTEGER NOT NULL DEFAULT 0;

  CREATE TABLE label_requests (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    sample INTEGER NOT NULL,
    model TEXT NOT NULL,
    request_id TEXT NOT NULL,
    row INTEGER NOT NULL,
    reason TEXT NOT NULL,
    requested_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    closed_at_ms INTEGER
  ) STRICT;
  CREATE INDEX label_requests_open ON label_requests (sample) WHERE state = 'open';

  CREATE TABLE label_budgets (
    reason TEXT PRIMARY KEY,
    credit INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
  ) STRICT;
  `,
  // What releases on trial were compared on since the last report, for each pair of releases.
  `
  CREATE TABLE comparisons (
    active INTEGER NOT NULL REFERENCES servings (id),
    candidate INTEGER NOT NULL REFERENCES servings (id),
    mode TEXT NOT NULL,
    totals TEXT NOT NULL,
    PRIMARY KEY (active, candidate, mode)
  ) STRICT;
  `,
  // What a regression gave for a row, and what was true; of the differences, sums.
  `
  ALTER TABLE samples ADD COLUMN value REAL;
  ALTER TABLE samples ADD COLUMN true_value REAL;
  ALTER TABLE counts ADD COLUMN error_count INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE counts ADD COLUMN error_sum REAL NOT NULL DEFAULT 0;
  ALTER TABLE counts ADD COLUMN error_absolute REAL NOT NULL DEFAULT 0;
  ALTER TABLE counts ADD COLUMN error_squared REAL NOT NULL DEFAULT 0;
  `,
];
