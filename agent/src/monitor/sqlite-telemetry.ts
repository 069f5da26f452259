import type { ModelName } from '@drover/shared/ids';
import type { ComparisonCounts, InputHour, LabelListing, ServingCounts } from '@drover/shared/protocol';
import type { DriftDecision } from '@drover/shared/statistics';
import { openSqlite, toDatabaseError, type DatabaseError, type SqliteDatabase } from '../database/index.js';
import type {
  Comparison,
  InferenceRecord,
  InputCounts,
  LabelOutcome,
  LabelRecord,
  ServedBy,
} from '../serve/recorder.js';
import { ComparisonTotals } from './comparison-counts.js';
import { InputHours } from './input-hours.js';
import type { AnswerOutcome, LabelAnswer, LabelRequest } from '../serve/label-desk.js';
import { joinFeatures, rowBytes } from './feature-bytes.js';
import { GroundTruth, type CountsOf } from './labelling/ground-truth.js';
import { LabelListings, type ListingTerms } from './labelling/label-listing.js';
import { LabelRequests, type LabelLook } from './labelling/label-requests.js';
import {
  telemetryStatements,
  type ComparisonKey,
  type ServingRow,
  type TelemetryStatements,
} from './telemetry-statements.js';
import { TELEMETRY_MIGRATIONS } from './telemetry-schema.js';
import type {
  DriftVerdict,
  LabelledSamples,
  SampleWindow,
  SynchronousTelemetry,
  WindowQuery,
} from './telemetry-store.js';
import { WindowCounts } from './window-counts.js';

export interface TelemetryOptions {
  /** Absolute path of telemetry.db. */
  readonly file: string;
  /** Rows kept per model; the oldest go first. */
  readonly maxSamples: number;
  /** Verdicts kept per model. */
  readonly maxVerdicts?: number;
  readonly nowMs: () => number;
  /** Uniform in [0, 1): draws what labels are asked for. */
  readonly random?: () => number;
  /** A damaged file was kept aside and a new one begun. */
  readonly onRebuilt: (error: DatabaseError) => void;
}

const DEFAULT_MAX_VERDICTS = 1_000;
/** How far a model's samples are cut back when they reach the bound, so that not every batch has to delete. */
const TRIM_TO_SHARE = 0.95;

/** Opens telemetry.db (WAL, NORMAL: a power cut may cost the last commits, never the file). @throws DatabaseError */
export function openTelemetry(options: TelemetryOptions): SynchronousTelemetry {
  const database = openSqlite({
    file: options.file,
    pragmas: { synchronous: 'NORMAL', cacheKiB: 1_024 },
    migrations: TELEMETRY_MIGRATIONS,
    nowMs: options.nowMs,
    onRebuilt: options.onRebuilt,
  });
  return new SqliteTelemetry(database, options);
}

class SqliteTelemetry implements SynchronousTelemetry {
  readonly #database: SqliteDatabase;
  readonly #options: TelemetryOptions;
  readonly #sql: TelemetryStatements;
  readonly #inputHours: InputHours;
  readonly #truth: GroundTruth;
  readonly #requests: LabelRequests;
  readonly #listings: LabelListings;
  /** Upper bounds: exact when counted, then every inserted row is added. */
  readonly #sampleCounts = new Map<ModelName, number>();

  constructor(database: SqliteDatabase, options: TelemetryOptions) {
    this.#database = database;
    this.#options = options;
    this.#sql = telemetryStatements(database);
    this.#inputHours = new InputHours(database);
    this.#truth = new GroundTruth(database);
    this.#requests = new LabelRequests(database, this.#truth, options.random ?? Math.random);
    this.#listings = new LabelListings(database);
  }

  record(records: readonly InferenceRecord[]): void {
    this.#counting((countsOf) => {
      for (const record of records) {
        const serving = this.#servingOf(record);
        countsOf(serving).addRecord(record);
        this.#insertRows(serving, record);
        const counted = this.#sampleCounts.get(record.model);
        if (counted !== undefined) this.#sampleCounts.set(record.model, counted + record.inferences);
      }
      for (const model of new Set(records.map((record) => record.model))) this.#trim(model);
    });
  }

  label(labels: readonly LabelRecord[]): LabelOutcome[] {
    return this.#counting((countsOf) => labels.map((label) => this.#truth.join(label, countsOf)));
  }

  requestLabels(look: LabelLook): number {
    return this.#atomically(() => this.#requests.look(look));
  }

  labelRequests(model: ModelName): LabelRequest[] {
    return this.#guarded(() => this.#requests.listOpen(model));
  }

  takeLabelListing(terms: ListingTerms): LabelListing | undefined {
    return this.#atomically(() => this.#listings.take(terms));
  }

  answerLabel(answer: LabelAnswer): AnswerOutcome {
    return this.#counting((countsOf) => this.#requests.answer(answer, countsOf));
  }

  window({ model, release, adaptation, size, afterId }: WindowQuery): SampleWindow | undefined {
    return this.#guarded(() => {
      const rows = this.#sql.window.all({ model, release, adaptation: adaptation ?? '', size, afterId });
      const last = rows.at(-1);
      if (rows.length < size || !last) return undefined;
      const { values, width } = joinFeatures(rows.map(({ features }) => features));
      return { rows: values, width, count: rows.length, lastId: last.id, lastAtMs: last.at_ms };
    });
  }

  labelled(model: ModelName, sinceMs: number, limit: number): LabelledSamples {
    return this.#guarded(() => {
      const rows = this.#sql.labelled.all({ model, sinceMs, limit }).reverse();
      const newest = rows.at(-1);
      const fitting = rows.filter(({ features }) => features.length === newest?.features.length);
      const { values, width } = joinFeatures(fitting.map(({ features }) => features));
      return {
        features: values,
        width,
        count: fitting.length,
        labels: Int32Array.from(fitting, ({ label }) => label),
        predictions: Int32Array.from(fitting, ({ prediction }) => prediction ?? -1),
      };
    });
  }

  takeCounts(limit: number): ServingCounts[] {
    return this.#atomically(() => {
      const rows = this.#sql.counts.all({ limit });
      for (const { serving } of rows) this.#sql.deleteCounts.run({ serving });
      return rows.map((row) => ({ ...toServedBy(row), ...new WindowCounts(row).toReport() }));
    });
  }

  inputs(counts: readonly InputCounts[]): void {
    this.#atomically(() => {
      for (const each of counts) this.#inputHours.add(this.#servingOf(each), each);
      this.#inputHours.trim();
    });
  }

  takeInputHours(limit: number): InputHour[] {
    return this.#atomically(() => this.#inputHours.take(limit, this.#options.nowMs()));
  }

  compare(comparisons: readonly Comparison[]): void {
    this.#atomically(() => {
      const pairs = new Map<string, { readonly key: ComparisonKey; readonly totals: ComparisonTotals }>();
      for (const comparison of comparisons) {
        const { active, candidate, mode } = comparison;
        const key = {
          active: this.#servingOf(active),
          candidate: this.#servingOf({ model: active.model, release: candidate }),
          mode,
        };
        const name = Object.values(key).join(' ');
        const pair = pairs.get(name) ?? {
          key,
          totals: new ComparisonTotals(this.#sql.comparisonOf.get(key)?.totals),
        };
        pairs.set(name, pair);
        pair.totals.add(comparison);
      }
      for (const { key, totals } of pairs.values())
        this.#sql.saveComparison.run({ ...key, totals: JSON.stringify(totals) });
    });
  }

  takeComparisons(limit: number): ComparisonCounts[] {
    return this.#atomically(() =>
      this.#sql.comparisons.all({ limit }).flatMap(({ totals, ...key }) => {
        this.#sql.deleteComparison.run(key);
        const [active, candidate] = [key.active, key.candidate].map((id) => this.#sql.servingOf.get({ id }));
        if (!active || !candidate) return [];
        const { model, ...served } = toServedBy(active);
        const { release } = toServedBy(candidate);
        return [
          { model, active: served, candidate: release, mode: key.mode, ...new ComparisonTotals(totals).toReport() },
        ];
      }),
    );
  }

  lastSampleId(): number {
    return this.#guarded(() => this.#sql.lastSampleId.get()?.id ?? 0);
  }

  saveVerdict({ servedBy, decision, alarm, ...rest }: DriftVerdict): void {
    this.#atomically(() => {
      const serving = this.#servingOf(servedBy);
      this.#sql.saveVerdict.run({ serving, ...rest, alarm: alarm ? 1 : 0, decision: JSON.stringify(decision) });
      this.#sql.trimVerdicts.run({ model: servedBy.model, keep: this.#options.maxVerdicts ?? DEFAULT_MAX_VERDICTS });
    });
  }

  verdicts(model: ModelName, limit: number): DriftVerdict[] {
    return this.#guarded(() =>
      this.#sql.verdicts.all({ model, limit }).map((row) => ({
        servedBy: toServedBy(row),
        afterId: row.after_id,
        lastId: row.last_id,
        decidedAtMs: row.decided_at_ms,
        windowEndAtMs: row.window_end_at_ms,
        decision: JSON.parse(row.decision) as DriftDecision,
        alarm: row.alarm === 1,
        inARow: row.in_a_row,
      })),
    );
  }

  close(): void {
    this.#database.close();
  }

  #insertRows(
    serving: number,
    { requestId, atMs, failed, inferences, features, predictions, values }: InferenceRecord,
  ): void {
    // A failed request has no outcome to learn from, and one without rows and answers nothing to join a label with.
    if (failed || (!features && !predictions && !values)) return;
    for (let row = 0; row < inferences; row++) {
      this.#sql.insertSample.run({
        serving,
        requestId,
        row,
        atMs,
        features: features ? rowBytes(features.values, row, features.width) : null,
        prediction: predictions?.classes[row] ?? null,
        confidence: predictions?.confidences[row] ?? null,
        value: values?.[row] ?? null,
      });
    }
  }

  #trim(model: ModelName): void {
    const { maxSamples } = this.#options;
    if ((this.#sampleCounts.get(model) ?? Infinity) <= maxSamples) return;
    let count = this.#sql.countSamples.get({ model })?.samples ?? 0;
    if (count > maxSamples) {
      const kept = Math.floor(maxSamples * TRIM_TO_SHARE);
      this.#sql.dropOldest.run({ model, surplus: count - kept });
      count = kept;
    }
    this.#sampleCounts.set(model, count);
  }

  #servingOf({ model, release, adaptation }: ServedBy): number {
    const key = { model, version: release.version, release: release.digest, adaptation: adaptation ?? '' } as const;
    const found = this.#sql.findServing.get(key);
    return found?.id ?? Number(this.#sql.insertServing.run(key).lastInsertRowid);
  }

  /** Atomically; counts that were asked for are stored at the end. */
  #counting<Result>(work: (countsOf: CountsOf) => Result): Result {
    return this.#atomically(() => {
      const counts = new Map<number, WindowCounts>();
      const result = work((serving) => {
        const found = counts.get(serving) ?? new WindowCounts(this.#sql.countsOf.get({ serving }));
        counts.set(serving, found);
        return found;
      });
      for (const [serving, each] of counts) this.#sql.saveCounts.run({ serving, ...each.toRow() });
      return result;
    });
  }

  #atomically<Result>(work: () => Result): Result {
    return this.#guarded(this.#database.transaction(work));
  }

  #guarded<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw toDatabaseError(error, this.#options.file);
    }
  }
}

const toServedBy = ({ model, version, release, adaptation }: ServingRow): ServedBy => ({
  model,
  release: { version, digest: release },
  ...(adaptation === '' ? {} : { adaptation }),
});
