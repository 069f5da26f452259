import type { Statement } from 'better-sqlite3';
import { newLabelRequestId, type ModelName, type Version } from '@drover/shared/ids';
import type { SqliteDatabase } from '../../database/index.js';
import type { AnswerOutcome, LabelAnswer, LabelReason, LabelRequest } from '../../serve/label-desk.js';
import { joinFeatures } from '../feature-bytes.js';
import type { Budget } from './budget.js';
import {
  afterChoices,
  chooseLabels,
  labelsWanted,
  type Candidate,
  type LabellingSettings,
  type PerReason,
} from './choose.js';
import type { CountsOf, GroundTruth } from './ground-truth.js';

export interface LabelLook extends LabellingSettings {
  readonly expireAfterMs: number;
  readonly isDrifting: boolean;
  readonly nowMs: number;
}

/** A request, its sample and what served it, joined. */
export interface RequestRow {
  readonly id: string;
  readonly model: ModelName;
  readonly version: Version;
  readonly request_id: string;
  readonly row: number;
  readonly reason: LabelReason;
  readonly requested_at_ms: number;
  readonly at_ms: number;
  readonly prediction: number;
  readonly confidence: number | null;
  readonly features: Buffer | null;
}

/** As many of the newest rows are looked at as may be drawn from. */
const MAX_CANDIDATES = 1_000;
/** Of the model's recent answers are less sure than what is asked for because of it. */
const UNSURE_SHARE = 0.05;
const RECENT_ANSWERS = 500;
const MIN_RECENT_ANSWERS = 100;
const MAX_LISTED = 100;
/** Requests that are over are remembered for late and repeated answers. */
const KEPT_CLOSED = 1_000;

/** One prepared statement: its parameters and the rows that it gives. */
type Sql<Parameters, Row = never> = Statement<[Parameters], Row>;

/** The queue of requests for labels, within the caller's transaction. What is open keeps its sample from being dropped. */
export class LabelRequests {
  readonly #truth: GroundTruth;
  readonly #random: () => number;
  readonly #sql: ReturnType<typeof statements>;
  /** Samples up to this one were candidates already. */
  #lookedAt: number | undefined;

  constructor(database: SqliteDatabase, truth: GroundTruth, random: () => number) {
    this.#truth = truth;
    this.#random = random;
    this.#sql = statements(database);
  }

  /** Lets expire what is over, and asks for what may be asked for. Returns how many requests are new. */
  look({ expireAfterMs, isDrifting, nowMs, ...settings }: LabelLook): number {
    const isOff = settings.perDay === 0;
    this.#sql.expire.run({ nowMs, requestedBefore: isOff ? Number.MAX_SAFE_INTEGER : nowMs - expireAfterMs });
    this.#sql.trim.run({ keep: KEPT_CLOSED });
    const lastSample = this.#sql.lastSample.get()?.id ?? 0;
    const after = this.#lookedAt ?? lastSample;
    this.#lookedAt = lastSample;
    if (isOff) return 0;
    const standing = { budgets: this.#budgets(), open: this.#open(), isDrifting, nowMs };
    const { wanted, budgets } = labelsWanted(standing, settings);
    const candidates = wanted.random || wanted.targeted ? this.#candidates(after) : [];
    const choices = chooseLabels(candidates, wanted, this.#random);
    for (const { sample, reason } of choices) this.#sql.insert.run({ id: newLabelRequestId(), sample, reason, nowMs });
    const left = afterChoices(budgets, choices);
    for (const reason of ['random', 'targeted'] as const) this.#sql.saveBudget.run({ reason, ...left[reason] });
    return choices.length;
  }

  listOpen(model: ModelName): LabelRequest[] {
    return this.#sql.listOpen.all({ model, limit: MAX_LISTED }).map((row) => ({
      id: row.id,
      model: row.model,
      version: row.version,
      requestId: row.request_id,
      row: row.row,
      reason: row.reason,
      requestedAtMs: row.requested_at_ms,
      servedAtMs: row.at_ms,
      prediction: row.prediction,
      confidence: row.confidence,
      ...(row.features ? { features: joinFeatures([row.features]).values } : {}),
    }));
  }

  /** Also of a request that has expired, while its sample is kept. */
  answer({ id, model, label, atMs }: LabelAnswer, countsOf: CountsOf): AnswerOutcome {
    const request = this.#sql.find.get({ id, model });
    if (!request) return 'unknown';
    if (label === null) {
      return this.#sql.decline.run({ id, atMs }).changes === 1 || request.state === 'declined'
        ? 'declined'
        : 'repeated';
    }
    const { sample, row, request_id: requestId, reason } = request;
    const isTargeted = reason === 'targeted';
    const became = this.#truth.joinRow(
      { id: sample, requestId, row, of: 'classes', label, atMs, isTargeted },
      countsOf,
    );
    if (became === 'joined' || became === 'repeated') this.#sql.setAnswered.run({ id, atMs });
    return became;
  }

  #budgets(): PerReason<Budget | undefined> {
    const rows = new Map(this.#sql.budgets.all().map(({ reason, credit, at_ms: atMs }) => [reason, { credit, atMs }]));
    return { random: rows.get('random'), targeted: rows.get('targeted') };
  }

  #open(): PerReason<number> {
    const rows = new Map(this.#sql.countOpen.all().map(({ reason, open }) => [reason, open]));
    return { random: rows.get('random') ?? 0, targeted: rows.get('targeted') ?? 0 };
  }

  #candidates(after: number): Candidate[] {
    const rows = this.#sql.candidates.all({ after, limit: MAX_CANDIDATES });
    const unsureBelow = new Map(
      [...new Set(rows.map(({ model }) => model))].map((model) => [model, this.#unsureBelow(model)]),
    );
    return rows.map(({ id, model, confidence }) => ({
      sample: id,
      confidence,
      unsureBelow: unsureBelow.get(model),
    }));
  }

  #unsureBelow(model: ModelName): number | undefined {
    const recent = this.#sql.recentConfidences.all({ model, limit: RECENT_ANSWERS });
    if (recent.length < MIN_RECENT_ANSWERS) return undefined;
    return recent.map(({ confidence }) => confidence).sort((a, b) => a - b)[Math.floor(recent.length * UNSURE_SHARE)];
  }
}

function statements(database: SqliteDatabase) {
  const prepare = <Parameters, Row = never>(sql: string): Sql<Parameters, Row> => database.prepare(sql);
  const prepareBare = <Row>(sql: string): Statement<[], Row> => database.prepare(sql);
  const OF_MODEL = 'serving IN (SELECT id FROM servings WHERE model = :model)';
  return {
    expire: prepare<{ nowMs: number; requestedBefore: number }>(
      "UPDATE label_requests SET state = 'expired', closed_at_ms = :nowMs WHERE state = 'open' AND requested_at_ms < :requestedBefore",
    ),
    trim: prepare<{ keep: number }>(
      `DELETE FROM label_requests WHERE state <> 'open' AND number NOT IN
       (SELECT number FROM label_requests WHERE state <> 'open' ORDER BY number DESC LIMIT :keep)`,
    ),
    // Of the sequence, not of the table: samples that were dropped were looked at, too.
    lastSample: prepareBare<{ id: number }>("SELECT seq AS id FROM sqlite_sequence WHERE name = 'samples'"),
    budgets: prepareBare<{ reason: LabelReason; credit: number; at_ms: number }>(
      'SELECT reason, credit, at_ms FROM label_budgets',
    ),
    saveBudget: prepare<Budget & { reason: LabelReason }>(
      'INSERT OR REPLACE INTO label_budgets (reason, credit, at_ms) VALUES (:reason, :credit, :atMs)',
    ),
    countOpen: prepareBare<{ reason: LabelReason; open: number }>(
      "SELECT reason, count(*) AS open FROM label_requests WHERE state = 'open' GROUP BY reason",
    ),
    candidates: prepare<{ after: number; limit: number }, { id: number; model: ModelName; confidence: number | null }>(
      `SELECT samples.id, servings.model, samples.confidence FROM samples JOIN servings ON servings.id = samples.serving
       WHERE samples.id > :after AND label IS NULL AND prediction IS NOT NULL ORDER BY samples.id DESC LIMIT :limit`,
    ),
    recentConfidences: prepare<{ model: ModelName; limit: number }, { confidence: number }>(
      `SELECT confidence FROM samples WHERE confidence IS NOT NULL AND ${OF_MODEL} ORDER BY id DESC LIMIT :limit`,
    ),
    insert: prepare<{ id: string; sample: number; reason: LabelReason; nowMs: number }>(
      `INSERT INTO label_requests (id, sample, model, request_id, row, reason, requested_at_ms, state)
       SELECT :id, samples.id, servings.model, request_id, row, :reason, :nowMs, 'open'
       FROM samples JOIN servings ON servings.id = samples.serving WHERE samples.id = :sample`,
    ),
    listOpen: prepare<{ model: ModelName; limit: number }, RequestRow>(
      `SELECT label_requests.*, version, samples.at_ms, prediction, confidence, features FROM label_requests
       JOIN samples ON samples.id = sample JOIN servings ON servings.id = serving
       WHERE state = 'open' AND label_requests.model = :model ORDER BY number LIMIT :limit`,
    ),
    find: prepare<
      { id: string; model: ModelName },
      { sample: number; request_id: string; row: number; reason: LabelReason; state: string }
    >('SELECT sample, request_id, row, reason, state FROM label_requests WHERE id = :id AND model = :model'),
    decline: prepare<{ id: string; atMs: number }>(
      "UPDATE label_requests SET state = 'declined', closed_at_ms = :atMs WHERE id = :id AND state = 'open'",
    ),
    setAnswered: prepare<{ id: string; atMs: number }>(
      "UPDATE label_requests SET state = 'answered', closed_at_ms = :atMs WHERE id = :id AND state <> 'answered'",
    ),
  };
}
