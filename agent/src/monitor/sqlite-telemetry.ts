import type { ModelName } from '@drover/shared/ids';
import type { ServingCounts } from '@drover/shared/protocol';
import type { DriftDecision } from '@drover/shared/statistics';
import { openSqlite, toDatabaseError, type DatabaseError, type SqliteDatabase } from '../database/index.js';
import type { InferenceRecord, LabelRecord, ServedBy } from '../serve/recorder.js';
import { joinFeatures, rowBytes } from './feature-bytes.js';
import { telemetryStatements, type ServingRow, type TelemetryStatements } from './telemetry-statements.js';
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
  /** Upper bounds: exact when counted, then every inserted row is added. */
  readonly #sampleCounts = new Map<ModelName, number>();

  constructor(database: SqliteDatabase, options: TelemetryOptions) {
    this.#database = database;
    this.#options = options;
    this.#sql = telemetryStatements(database);
  }

  record(records: readonly InferenceRecord[]): void {
    this.#atomically(() => {
      const counts = new Map<number, WindowCounts>();
      for (const record of records) {
        const serving = this.#servingOf(record);
        this.#countsIn(counts, serving).addRecord(record);
        this.#insertRows(serving, record);
        const counted = this.#sampleCounts.get(record.model);
        if (counted !== undefined) this.#sampleCounts.set(record.model, counted + record.inferences);
      }
      for (const [serving, each] of counts) this.#sql.saveCounts.run({ serving, ...each.toRow() });
      for (const model of new Set(records.map((record) => record.model))) this.#trim(model);
    });
  }

  label(labels: readonly LabelRecord[]): void {
    this.#atomically(() => {
      const counts = new Map<number, WindowCounts>();
      for (const { model, requestId, atMs, labels: classes } of labels) {
        classes.forEach((label, row) => {
          const sample = this.#sql.findUnlabelled.get({ model, requestId, row });
          if (!sample) return;
          this.#sql.setLabel.run({ id: sample.id, label, atMs });
          if (sample.prediction !== null) this.#countsIn(counts, sample.serving).addLabel(sample.prediction === label);
        });
      }
      for (const [serving, each] of counts) this.#sql.saveCounts.run({ serving, ...each.toRow() });
    });
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

  #insertRows(serving: number, { requestId, atMs, failed, inferences, features, predictions }: InferenceRecord): void {
    // A failed request has no outcome to learn from, and one without rows and classes nothing to join a label with.
    if (failed || (!features && !predictions)) return;
    for (let row = 0; row < inferences; row++) {
      this.#sql.insertSample.run({
        serving,
        requestId,
        row,
        atMs,
        features: features ? rowBytes(features.values, row, features.width) : null,
        prediction: predictions?.classes[row] ?? null,
        confidence: predictions?.confidences[row] ?? null,
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

  #countsIn(counts: Map<number, WindowCounts>, serving: number): WindowCounts {
    const found = counts.get(serving) ?? new WindowCounts(this.#sql.countsOf.get({ serving }));
    counts.set(serving, found);
    return found;
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
