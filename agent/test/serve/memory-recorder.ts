import type {
  Comparison,
  InferenceRecord,
  InputCounts,
  LabelOutcome,
  LabelRecord,
  Recorder,
} from '../../src/serve/index.js';

/** Keeps what was recorded, in order, and joins every label. */
export interface MemoryRecorder extends Recorder {
  readonly records: InferenceRecord[];
  readonly labels: LabelRecord[];
  readonly comparisons: Comparison[];
  /** Becomes of labels from now on. */
  outcome: LabelOutcome | undefined;
  readonly inputCounts: InputCounts[];
}

export function memoryRecorder(): MemoryRecorder {
  const records: InferenceRecord[] = [];
  const labels: LabelRecord[] = [];
  const inputCounts: InputCounts[] = [];
  const comparisons: Comparison[] = [];
  return {
    records,
    labels,
    comparisons,
    outcome: undefined,
    inputCounts,
    record: (record) => void records.push(record),
    compare: (comparison) => void comparisons.push(comparison),
    label(label) {
      labels.push(label);
      const joined = label.labels.filter((each) => each !== null).length;
      const all = { rows: label.labels.length, joined, repeated: 0, conflicting: 0, gone: 0 };
      return Promise.resolve(this.outcome ?? all);
    },
    inputs: (counts) => void inputCounts.push(counts),
  };
}
