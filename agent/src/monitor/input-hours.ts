import type { Statement } from 'better-sqlite3';
import type { InputHour } from '@drover/shared/protocol';
import type { SqliteDatabase } from '../database/index.js';
import { hourOf } from '../serve/input-tally.js';
import type { InputCounts } from '../serve/recorder.js';
import type { ServingRow } from './telemetry-statements.js';

/** Two weeks of one model; the oldest hours go first. */
const MAX_HOURS = 336;
/** Rules of one hour that are kept: those that were broken first. */
const MAX_RULES = 128;

type Sql<Parameters, Row = never> = Statement<[Parameters], Row>;

interface ViolationRow {
  readonly rule: number;
  readonly input: string;
  readonly feature: string;
  readonly says: string;
  readonly rows: number;
  readonly windows: number;
  readonly windows_below: number;
  readonly share: number | null;
  readonly is_below: 0 | 1 | null;
}

type RuleInsert = Omit<ViolationRow, 'windows_below' | 'is_below'> & {
  readonly hour: number;
  readonly windowsBelow: number;
  readonly isBelow: 0 | 1 | null;
  readonly most: number;
};

interface HourRow extends ServingRow {
  readonly hour_id: number;
  readonly hour: number;
  readonly rows: number;
  readonly refused_requests: number;
}

/** What became of inputs that were held against a contract, by the hour and by what served. Each call is part of a transaction of its caller. */
export class InputHours {
  readonly #addHour: Sql<{ serving: number; hour: number; rows: number; refused: number }, { id: number }>;
  readonly #trimHours: Sql<{ keep: number }>;
  readonly #addRule: Sql<RuleInsert>;
  readonly #changed: Sql<{ limit: number }, HourRow>;
  readonly #rules: Sql<{ hour: number }, ViolationRow>;
  readonly #setReported: Sql<{ hour: number; atMs: number }>;

  constructor(database: SqliteDatabase) {
    const prepare = (sql: string): never => database.prepare(sql) as never;
    this.#addHour = prepare(
      `INSERT INTO input_hours (serving, hour, rows, refused_requests, has_changed, reported_at_ms)
       VALUES (:serving, :hour, :rows, :refused, 1, 0)
       ON CONFLICT DO UPDATE SET rows = rows + :rows, refused_requests = refused_requests + :refused, has_changed = 1
       RETURNING id`,
    );
    this.#trimHours = prepare(
      'DELETE FROM input_hours WHERE id IN (SELECT id FROM input_hours ORDER BY hour DESC, id DESC LIMIT -1 OFFSET :keep)',
    );
    this.#addRule = prepare(
      `INSERT INTO input_violations (input_hour, rule, input, feature, says, rows, windows, windows_below, share, is_below)
       SELECT :hour, :rule, :input, :feature, :says, :rows, :windows, :windowsBelow, :share, :isBelow
       WHERE EXISTS (SELECT 1 FROM input_violations WHERE input_hour = :hour AND rule = :rule)
          OR (SELECT count(*) FROM input_violations WHERE input_hour = :hour) < :most
       ON CONFLICT DO UPDATE SET rows = rows + :rows, windows = windows + :windows,
         windows_below = windows_below + :windowsBelow, share = coalesce(:share, share), is_below = coalesce(:isBelow, is_below)`,
    );
    this.#changed = prepare(
      `SELECT input_hours.id AS hour_id, hour, rows, refused_requests, servings.model, servings.version, servings.release, servings.adaptation
       FROM input_hours JOIN servings ON servings.id = input_hours.serving
       WHERE has_changed = 1 ORDER BY reported_at_ms, hour LIMIT :limit`,
    );
    this.#rules = prepare('SELECT * FROM input_violations WHERE input_hour = :hour ORDER BY rule');
    this.#setReported = prepare('UPDATE input_hours SET has_changed = 0, reported_at_ms = :atMs WHERE id = :hour');
  }

  add(serving: number, { atMs, rows, refusedRequests, violations }: InputCounts): void {
    const added = this.#addHour.get({ serving, hour: hourOf(atMs), rows, refused: refusedRequests });
    if (!added) throw new Error('an hour was neither added nor found');
    for (const { share = null, isBelow, ...counts } of violations) {
      const below = isBelow === undefined ? null : isBelow ? 1 : 0;
      this.#addRule.run({ hour: added.id, ...counts, share, isBelow: below, most: MAX_RULES });
    }
  }

  trim(): void {
    this.#trimHours.run({ keep: MAX_HOURS });
  }

  /** Hours that changed since they were last taken, each with its sums so far; those that waited longest come first. */
  take(limit: number, nowMs: number): InputHour[] {
    return this.#changed.all({ limit }).map((row) => {
      const { hour_id, hour, rows, refused_requests, model, version, release, adaptation } = row;
      const violations = this.#rules.all({ hour: hour_id }).map(toReported);
      this.#setReported.run({ hour: hour_id, atMs: nowMs });
      return {
        model,
        release: { version, digest: release },
        ...(adaptation === '' ? {} : { adaptation }),
        hour,
        rows,
        refusedRequests: refused_requests,
        violations,
      };
    });
  }
}

const toReported = ({ rule, input, feature, says, rows, windows, windows_below, share, is_below }: ViolationRow) => ({
  rule,
  input,
  ...(feature === '' ? {} : { feature }),
  says,
  rows,
  windows,
  windowsBelow: windows_below,
  ...(share === null ? {} : { share, isBelow: is_below === 1 }),
});
