import type { Digest, ModelName } from '@drover/shared/ids';
import type { ComparisonCounts, InputHour, LabelListing, ServingCounts } from '@drover/shared/protocol';
import type { DriftDecision } from '@drover/shared/statistics';
import type { LabelDesk } from '../serve/label-desk.js';
import type {
  Comparison,
  InferenceRecord,
  InputCounts,
  LabelOutcome,
  LabelRecord,
  ServedBy,
} from '../serve/recorder.js';
import type { ListingTerms } from './labelling/label-listing.js';
import type { LabelLook } from './labelling/label-requests.js';

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
export interface TelemetryStore extends LabelDesk {
  record(records: readonly InferenceRecord[]): Promise<void>;
  /** What became of each, in order. The first label of a row counts; the newest request of an id is meant. */
  label(labels: readonly LabelRecord[]): Promise<LabelOutcome[]>;
  /** Lets expire what is over, asks for labels as far as that is allowed, and returns for how many. */
  requestLabels(look: LabelLook): Promise<number>;
  /** What the control plane has to be told of the requests that wait; undefined while that has not changed. */
  takeLabelListing(terms: ListingTerms): Promise<LabelListing | undefined>;
  /** The oldest `size` rows after `afterId`, or undefined while there are fewer. */
  window(query: WindowQuery): Promise<SampleWindow | undefined>;
  /** At most `limit` of the rows labelled since, the newest of them. */
  labelled(model: ModelName, sinceMs: number, limit: number): Promise<LabelledSamples>;
  /**
   * What was served and labelled since the last call, split by release and adaptation; `predictions` is keyed by class index.
   * Beyond `limit` entries, the rest waits for the next call.
   */
  takeCounts(limit: number): Promise<ServingCounts[]>;
  /** What became of inputs that were held against the contract of their release; kept by the hour, apart from samples and drift. */
  inputs(counts: readonly InputCounts[]): Promise<void>;
  /** Hours of `inputs` that changed since they were last taken, each with its sums so far. Beyond `limit`, the rest waits for the next call. */
  takeInputHours(limit: number): Promise<InputHour[]>;
  compare(comparisons: readonly Comparison[]): Promise<void>;
  /** What was compared since the last call, for each pair of releases; beyond `limit`, the rest waits. */
  takeComparisons(limit: number): Promise<ComparisonCounts[]>;
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
    requestLabels: (look) => promised(() => store.requestLabels(look)),
    labelRequests: (model) => promised(() => store.labelRequests(model)),
    answerLabel: (answer) => promised(() => store.answerLabel(answer)),
    takeLabelListing: (terms) => promised(() => store.takeLabelListing(terms)),
    window: (query) => promised(() => store.window(query)),
    labelled: (model, sinceMs, limit) => promised(() => store.labelled(model, sinceMs, limit)),
    takeCounts: (limit) => promised(() => store.takeCounts(limit)),
    inputs: (counts) => promised(() => store.inputs(counts)),
    takeInputHours: (limit) => promised(() => store.takeInputHours(limit)),
    compare: (comparisons) => promised(() => store.compare(comparisons)),
    takeComparisons: (limit) => promised(() => store.takeComparisons(limit)),
    lastSampleId: () => promised(() => store.lastSampleId()),
    saveVerdict: (verdict) => promised(() => store.saveVerdict(verdict)),
    verdicts: (model, limit) => promised(() => store.verdicts(model, limit)),
    close: () => promised(() => store.close()),
  };
}
