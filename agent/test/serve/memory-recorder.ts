import type { InferenceRecord, LabelRecord, Recorder } from '../../src/serve/index.js';

/** Keeps what was recorded, in order. */
export interface MemoryRecorder extends Recorder {
  readonly records: InferenceRecord[];
  readonly labels: LabelRecord[];
}

export function memoryRecorder(): MemoryRecorder {
  const records: InferenceRecord[] = [];
  const labels: LabelRecord[] = [];
  return {
    records,
    labels,
    record: (record) => void records.push(record),
    label: (label) => void labels.push(label),
  };
}
