import type { InferenceRecord, LabelRecord, Recorder } from '../recorder.js';

export interface Batch {
  readonly records: readonly InferenceRecord[];
  readonly labels: readonly LabelRecord[];
}

export interface BatchingRecorderOptions {
  /** Calls `delivered` once the other side has taken the batch. */
  readonly deliver: (batch: Batch, delivered: () => void) => void;
  readonly flushMs?: number;
  readonly maxRecords?: number;
}

export interface BatchingRecorder extends Recorder {
  flush(): void;
  close(): void;
}

/** Batches that the supervisor has not taken yet; beyond, records travel without their rows, so that a slow disk cannot fill this process's memory. */
const MAX_UNDELIVERED = 8;

/** Collects what was served and hands it on every 100 ms or 256 records. Records go before labels: a label follows its inference. */
export function createBatchingRecorder({
  deliver,
  flushMs = 100,
  maxRecords = 256,
}: BatchingRecorderOptions): BatchingRecorder {
  let records: InferenceRecord[] = [];
  let labels: LabelRecord[] = [];
  let undelivered = 0;
  const flush = (): void => {
    if (records.length === 0 && labels.length === 0) return;
    const batch = { records, labels };
    records = [];
    labels = [];
    undelivered += 1;
    deliver(batch, () => (undelivered -= 1));
  };
  const timer = setInterval(flush, flushMs);
  const flushIfFull = (): void => {
    if (records.length >= maxRecords || labels.length >= maxRecords) flush();
  };
  return {
    record(record) {
      const { features: _features, ...counted } = record;
      records.push(undelivered > MAX_UNDELIVERED ? counted : record);
      flushIfFull();
    },
    label(label) {
      labels.push(label);
      flushIfFull();
    },
    flush,
    close() {
      clearInterval(timer);
      flush();
    },
  };
}
