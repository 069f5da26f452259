import type { Digest, ModelName, Version } from '@drover/shared/ids';

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
}

/** Ground truth for the rows of an earlier request, in their order. */
export interface LabelRecord {
  readonly model: ModelName;
  readonly requestId: string;
  readonly atMs: number;
  readonly labels: readonly number[];
}

/** Takes what was served. Called on the data path: must return at once and never throw. */
export interface Recorder {
  record(record: InferenceRecord): void;
  label(label: LabelRecord): void;
}
