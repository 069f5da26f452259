import type { Digest, ModelName } from '@drover/shared/ids';
import type { ServingCounts } from '@drover/shared/protocol';
import type { DriftDecision } from '@drover/shared/statistics';
import type { InferenceRecord, LabelRecord, ServedBy } from '../serve/recorder.js';

/** Rows that one release or adaptation served, consecutive and in order. */
export interface WindowQuery {
  readonly model: ModelName;
  readonly release: Digest;
  readonly adaptation?: Digest | undefined;
  /** Rows wanted; with fewer there is no window. */
  readonly size: number;
  /** Only samples with a higher id. */
  readonly afterId: number;
}

export interface SampleWindow {
  /** Row-major, `count` × `width`. */
  readonly rows: Float32Array;
  readonly width: number;
  readonly count: number;
  readonly lastId: number;
  readonly lastAtMs: number;
}

/** Labelled rows of a model over all its releases, oldest first. A prediction of −1: there was none. */
export interface LabelledSamples {
  /** Row-major, `count` × `width`. */
  readonly features: Float32Array;
  readonly labels: Int32Array;
  readonly predictions: Int32Array;
  readonly width: number;
  readonly count: number;
}

/** A decision with all that is needed to reach it again: the window is `size` rows of `servedBy` after sample `afterId`. */
export interface DriftVerdict {
  readonly servedBy: ServedBy;
  readonly afterId: number;
  readonly lastId: number;
  readonly decidedAtMs: number;
  readonly windowEndAtMs: number;
  readonly decision: DriftDecision;
  /** Is an alarm up after this verdict? */
  readonly alarm: boolean;
  /** Windows in a row with this verdict, this one included. */
  readonly inARow: number;
}

/** What a device saw, in SQLite, bounded. Errors are DatabaseErrors (DATABASE_DISK_FULL, DATABASE_CORRUPT, DATABASE_UNAVAILABLE). */
export interface TelemetryStore {
  record(records: readonly InferenceRecord[]): Promise<void>;
  /** The first label of a row counts; labels of requests that were dropped already, or never seen, are ignored. */
  label(labels: readonly LabelRecord[]): Promise<void>;
  /** The oldest `size` rows after `afterId`, or undefined while there are fewer. */
  window(query: WindowQuery): Promise<SampleWindow | undefined>;
  /** At most `limit` of the rows labelled since, the newest of them. */
  labelled(model: ModelName, sinceMs: number, limit: number): Promise<LabelledSamples>;
  /**
   * What was served and labelled since the last call, split by release and adaptation; `predictions` is keyed by class index.
   * Beyond `limit` entries, the rest waits for the next call.
   */
  takeCounts(limit: number): Promise<ServingCounts[]>;
  /** Highest sample id so far, over all models; 0 when there is none. */
  lastSampleId(): Promise<number>;
  saveVerdict(verdict: DriftVerdict): Promise<void>;
  /** The newest verdicts of a model, newest first. */
  verdicts(model: ModelName, limit: number): Promise<DriftVerdict[]>;
  close(): Promise<void>;
}

/** The same, synchronously. */
export type SynchronousTelemetry = {
  readonly [Method in keyof TelemetryStore]: (
    ...args: Parameters<TelemetryStore[Method]>
  ) => Awaited<ReturnType<TelemetryStore[Method]>>;
};

/** A synchronous store in an asynchronous coat, for processes in which a slow disk holds nobody up. */
export function inlineTelemetry(store: SynchronousTelemetry): TelemetryStore {
  // The executor turns what the store throws into a rejection.
  const promised = <Result>(work: () => Result): Promise<Result> => new Promise((resolve) => resolve(work()));
  return {
    record: (records) => promised(() => store.record(records)),
    label: (labels) => promised(() => store.label(labels)),
    window: (query) => promised(() => store.window(query)),
    labelled: (model, sinceMs, limit) => promised(() => store.labelled(model, sinceMs, limit)),
    takeCounts: (limit) => promised(() => store.takeCounts(limit)),
    lastSampleId: () => promised(() => store.lastSampleId()),
    saveVerdict: (verdict) => promised(() => store.saveVerdict(verdict)),
    verdicts: (model, limit) => promised(() => store.verdicts(model, limit)),
    close: () => promised(() => store.close()),
  };
}
