import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { TrialMode } from '@drover/shared/protocol';
import type { Agreement } from '@drover/shared/task';

/** What was loaded when an inference was made. */
export interface ServedBy {
  readonly model: ModelName;
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly adaptation?: Digest;
}

/** Rows of the one two-dimensional float input: row-major [count × width]. */
export interface FeatureRows {
  readonly values: Float32Array;
  readonly count: number;
  readonly width: number;
}

/** Per row of the batch: the index of the highest score, and its probability (softmax where the scores are not one already). */
export interface Predictions {
  readonly classes: Int32Array;
  readonly confidences: Float32Array;
}

/** One request that reached a model, whether it ended well or not. Never written to after it was handed over. */
export interface InferenceRecord extends ServedBy {
  readonly requestId: string;
  readonly atMs: number;
  readonly latencyUs: number;
  readonly failed: boolean;
  /** Rows in the batch. */
  readonly inferences: number;
  readonly features?: FeatureRows;
  readonly predictions?: Predictions;
  /** Of a regression with one value per row: those, in the unit of the task. */
  readonly values?: Float64Array;
}

/** The request still counts; no profile is made of it. */
export function withoutRows({ features: _features, ...counted }: InferenceRecord): InferenceRecord {
  return counted;
}

/** Bytes of the rows that it keeps. */
export const rowBytes = ({ features }: InferenceRecord): number => features?.values.byteLength ?? 0;

/** Of a classification or of a regression. */
export type TruthKind = 'classes' | 'values';

/** Ground truth for the rows of an earlier request, in their order: classes by their index, or values in the unit of the task; null where it is not known (yet). */
export interface LabelRecord {
  readonly model: ModelName;
  readonly requestId: string;
  readonly atMs: number;
  readonly of: TruthKind;
  readonly labels: readonly (number | null)[];
}

/** What became of ground truth, in rows. */
export interface LabelOutcome {
  /** Rows that the request had, as far as anything of it is kept; 0 where nothing is. With fewer than there are labels, nothing was joined. */
  readonly rows: number;
  readonly joined: number;
  /** Had this label already. */
  readonly repeated: number;
  /** Had another label, which stays. */
  readonly conflicting: number;
  /** Their samples are no longer kept. */
  readonly gone: number;
}

/** What happened to one rule of the contract of the inputs. */
export interface RuleViolations {
  /** Its place among all rules of the contract. */
  readonly rule: number;
  readonly input: string;
  /** Name or index of the column; empty for every value of the input. */
  readonly feature: string;
  /** What the rule asks, in words. */
  readonly says: string;
  /** Rows that broke it. */
  readonly rows: number;
  /** Windows that were filled, and those of them in which too few rows held; of a rule about a share of the rows. */
  readonly windows: number;
  readonly windowsBelow: number;
  /** Of the newest of these windows: the share of its rows that held, and whether that is too small. */
  readonly share?: number;
  readonly isBelow?: boolean;
}

/** Inputs that were held against the contract of a release, apart from what became of them. */
export interface InputCounts extends ServedBy {
  readonly atMs: number;
  /** Rows that were looked at, those of refused requests included. */
  readonly rows: number;
  readonly refusedRequests: number;
  /** Of the rules that something happened to. */
  readonly violations: readonly RuleViolations[];
}

/** One request that met a release on trial. */
export interface Comparison {
  readonly active: ServedBy;
  readonly candidate: ServedBy['release'];
  readonly mode: TrialMode;
  /**
   * `compared`: the candidate ran on it as well; `answered`: the candidate answered; `left`: the release that serves answered, of a split; `failed`: the candidate
   * could not be run; `dropped`: too much waited for the candidate.
   */
  readonly outcome: 'compared' | 'answered' | 'left' | 'failed' | 'dropped';
  readonly activeLatencyUs?: number;
  readonly candidateLatencyUs?: number;
  readonly agreement?: Agreement;
  /** Of a classification: the class of each row by either release. */
  readonly classes?: { readonly active: Int32Array; readonly candidate: Int32Array };
  /** Of a regression or an anomaly score: the bucket of each value of either release, if there are many, of some of them. */
  readonly values?: { readonly active: Int16Array; readonly candidate: Int16Array };
}

/** Takes what was served. Called on the data path: must return at once and never throw. */
export interface Recorder {
  record(record: InferenceRecord): void;
  compare(comparison: Comparison): void;
  /** Resolves when it was joined with what was recorded before it. Rejects with a coded error when the store cannot be written. */
  label(label: LabelRecord): Promise<LabelOutcome>;
  inputs(counts: InputCounts): void;
}
