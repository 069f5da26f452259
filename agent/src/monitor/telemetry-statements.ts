import type { Statement } from 'better-sqlite3';
import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { TrialMode } from '@drover/shared/protocol';
import type { SqliteDatabase } from '../database/index.js';
import type { CountsRow } from './window-counts.js';

/** What names a serving in a row: the empty adaptation is the release itself. */
export interface ServingRow {
  readonly model: ModelName;
  readonly version: Version;
  readonly release: Digest;
  readonly adaptation: Digest | '';
}

interface VerdictRow extends ServingRow {
  readonly after_id: number;
  readonly last_id: number;
  readonly decided_at_ms: number;
  readonly window_end_at_ms: number;
  readonly alarm: 0 | 1;
  readonly in_a_row: number;
  readonly decision: string;
}

interface SampleInsert {
  readonly serving: number;
  readonly requestId: string;
  readonly row: number;
  readonly atMs: number;
  readonly features: Buffer | null;
  readonly prediction: number | null;
  readonly confidence: number | null;
  readonly value: number | null;
}

interface VerdictInsert {
  readonly serving: number;
  readonly afterId: number;
  readonly lastId: number;
  readonly decidedAtMs: number;
  readonly windowEndAtMs: number;
  readonly alarm: 0 | 1;
  readonly inARow: number;
  readonly decision: string;
}

/** One prepared statement: its parameters and the rows that it gives. */
type Sql<Parameters, Row = never> = Statement<[Parameters], Row>;

/** A pair of releases, and how one was tried beside the other. */
export interface ComparisonKey {
  readonly active: number;
  readonly candidate: number;
  readonly mode: TrialMode;
}

interface ComparisonRow extends ComparisonKey {
  /** JSON of ComparisonTotals. */
  readonly totals: string;
}

export interface TelemetryStatements {
  readonly findServing: Sql<ServingRow, { id: number }>;
  readonly insertServing: Sql<ServingRow>;
  readonly insertSample: Sql<SampleInsert>;
  readonly countSamples: Sql<{ model: ModelName }, { samples: number }>;
  readonly dropOldest: Sql<{ model: ModelName; surplus: number }>;
  readonly window: Sql<
    { model: ModelName; release: Digest; adaptation: Digest | ''; size: number; afterId: number },
    { id: number; at_ms: number; features: Buffer }
  >;
  readonly labelled: Sql<
    { model: ModelName; sinceMs: number; limit: number },
    { features: Buffer; label: number; prediction: number | null }
  >;
  readonly lastSampleId: Statement<[], { id: number | null }>;
  readonly countsOf: Sql<{ serving: number }, CountsRow>;
  readonly saveCounts: Sql<CountsRow & { serving: number }>;
  readonly counts: Sql<{ limit: number }, CountsRow & ServingRow & { serving: number }>;
  readonly deleteCounts: Sql<{ serving: number }>;
  readonly servingOf: Sql<{ id: number }, ServingRow>;
  readonly comparisonOf: Sql<ComparisonKey, { totals: string }>;
  readonly saveComparison: Sql<ComparisonRow>;
  readonly comparisons: Sql<{ limit: number }, ComparisonRow>;
  readonly deleteComparison: Sql<ComparisonKey>;
  readonly saveVerdict: Sql<VerdictInsert>;
  readonly trimVerdicts: Sql<{ model: ModelName; keep: number }>;
  readonly verdicts: Sql<{ model: ModelName; limit: number }, VerdictRow>;
}

const OF_MODEL = 'serving IN (SELECT id FROM servings WHERE model = :model)';
/** What somebody was asked to label is kept beyond the bound, until that is over. */
const IS_FREE = "id NOT IN (SELECT sample FROM label_requests WHERE state = 'open')";
const OF_SERVING = `serving = (SELECT id FROM servings WHERE model = :model AND release = :release AND adaptation = :adaptation)`;

const OF_PAIR = 'active = :active AND candidate = :candidate AND mode = :mode';

export function telemetryStatements(database: SqliteDatabase): TelemetryStatements {
  const prepare = (sql: string): never => database.prepare(sql) as never;
  return {
    findServing: prepare(
      'SELECT id FROM servings WHERE model = :model AND release = :release AND adaptation = :adaptation',
    ),
    insertServing: prepare(
      'INSERT INTO servings (model, version, release, adaptation) VALUES (:model, :version, :release, :adaptation)',
    ),
    insertSample: prepare(
      `INSERT INTO samples (serving, request_id, row, at_ms, features, prediction, confidence, value)
       VALUES (:serving, :requestId, :row, :atMs, :features, :prediction, :confidence, :value)`,
    ),
    countSamples: prepare(`SELECT count(*) AS samples FROM samples WHERE ${OF_MODEL} AND ${IS_FREE}`),
    dropOldest: prepare(
      `DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE ${OF_MODEL} AND ${IS_FREE} ORDER BY id LIMIT :surplus)`,
    ),
    // Rows of another width than the first (a variable axis) would shift every feature.
    window: prepare(
      `SELECT id, at_ms, features FROM samples
       WHERE ${OF_SERVING} AND id > :afterId AND length(features) = (
         SELECT length(features) FROM samples WHERE ${OF_SERVING} AND id > :afterId AND features IS NOT NULL ORDER BY id LIMIT 1)
       ORDER BY id LIMIT :size`,
    ),
    labelled: prepare(
      `SELECT features, label, prediction FROM samples
       WHERE label IS NOT NULL AND labelled_at_ms >= :sinceMs AND features IS NOT NULL AND ${OF_MODEL} ORDER BY id DESC LIMIT :limit`,
    ),
    // Of the sequence, not of the table: ids of samples that were dropped already must not come back as "after".
    lastSampleId: prepare("SELECT seq AS id FROM sqlite_sequence WHERE name = 'samples'"),
    countsOf: prepare(
      `SELECT requests, failures, inferences, labelled, correct, conflicting, targeted, targeted_correct, confidence_count, confidence_sum, error_count, error_sum, error_absolute, error_squared, latencies, predictions
       FROM counts WHERE serving = :serving`,
    ),
    saveCounts: prepare(
      `INSERT OR REPLACE INTO counts
       (serving, requests, failures, inferences, labelled, correct, conflicting, targeted, targeted_correct, confidence_count, confidence_sum, error_count, error_sum, error_absolute, error_squared, latencies, predictions)
       VALUES (:serving, :requests, :failures, :inferences, :labelled, :correct, :conflicting, :targeted, :targeted_correct, :confidence_count, :confidence_sum, :error_count, :error_sum, :error_absolute, :error_squared, :latencies, :predictions)`,
    ),
    counts: prepare(
      'SELECT servings.*, counts.* FROM counts JOIN servings ON servings.id = counts.serving ORDER BY servings.id DESC LIMIT :limit',
    ),
    deleteCounts: prepare('DELETE FROM counts WHERE serving = :serving'),
    servingOf: prepare('SELECT model, version, release, adaptation FROM servings WHERE id = :id'),
    comparisonOf: prepare(`SELECT totals FROM comparisons WHERE ${OF_PAIR}`),
    saveComparison: prepare(
      'INSERT OR REPLACE INTO comparisons (active, candidate, mode, totals) VALUES (:active, :candidate, :mode, :totals)',
    ),
    comparisons: prepare(
      'SELECT active, candidate, mode, totals FROM comparisons ORDER BY candidate DESC, active, mode LIMIT :limit',
    ),
    deleteComparison: prepare(`DELETE FROM comparisons WHERE ${OF_PAIR}`),
    saveVerdict: prepare(
      `INSERT INTO verdicts (serving, after_id, last_id, decided_at_ms, window_end_at_ms, alarm, in_a_row, decision)
       VALUES (:serving, :afterId, :lastId, :decidedAtMs, :windowEndAtMs, :alarm, :inARow, :decision)`,
    ),
    trimVerdicts: prepare(
      `DELETE FROM verdicts WHERE ${OF_MODEL} AND id NOT IN (SELECT id FROM verdicts WHERE ${OF_MODEL} ORDER BY id DESC LIMIT :keep)`,
    ),
    verdicts: prepare(
      `SELECT servings.*, verdicts.* FROM verdicts JOIN servings ON servings.id = verdicts.serving
       WHERE servings.model = :model ORDER BY verdicts.id DESC LIMIT :limit`,
    ),
  };
}
