/** Forward-only; the number of scripts is the format version of the journal. */
export const JOURNAL_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  -- One row per model that was ever ordered. Releases are JSON {version, digest}.
  CREATE TABLE models (
    model TEXT PRIMARY KEY,
    accepted TEXT,      -- {epoch, counter} of the last accepted order
    committed TEXT,     -- the release that the device falls back to
    previous TEXT,      -- the one before it
    revert_floor TEXT,  -- the oldest version that the publisher of "committed" lets the director go back to
    adaptation TEXT,    -- {digest} of the fine-tuned file that serves on top of "committed"
    last_outcome TEXT,  -- StateBody.models[].lastOutcome
    pending TEXT        -- an accepted order that waits until the one in progress has been taken back
  ) STRICT;
  -- The update in progress of a model; no row means idle.
  CREATE TABLE updates (
    model TEXT PRIMARY KEY REFERENCES models (model),
    state TEXT NOT NULL,
    deployment TEXT NOT NULL,
    activated INTEGER NOT NULL DEFAULT 0,      -- 1 before the candidate may first have served
    interruptions INTEGER NOT NULL DEFAULT 0,  -- unclean stops while the candidate could have caused them
    closed_orderly INTEGER NOT NULL DEFAULT 0,
    error TEXT                                 -- coded error that made it fall back
  ) STRICT;
  CREATE TABLE transitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    model TEXT NOT NULL,
    deployment_id TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL
  ) STRICT;
  `,
];
