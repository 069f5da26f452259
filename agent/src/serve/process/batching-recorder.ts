import { InputTally } from '../input-tally.js';
import {
  rowBytes,
  withoutRows,
  type Comparison,
  type InferenceRecord,
  type InputCounts,
  type LabelOutcome,
  type LabelRecord,
  type Recorder,
} from '../recorder.js';

/** A label that somebody waits for. */
export interface LabelCall {
  readonly call: number;
  readonly label: LabelRecord;
}

export interface Batch {
  readonly records: readonly InferenceRecord[];
  readonly labels: readonly LabelCall[];
  /** Summed up. */
  readonly inputs: readonly InputCounts[];
  readonly comparisons: readonly Comparison[];
}

export interface BatchingRecorderOptions {
  /** Calls `delivered` once the other side has taken the batch. */
  readonly deliver: (batch: Batch, delivered: () => void) => void;
  readonly flushMs?: number;
  readonly maxRecords?: number;
}

export interface BatchingRecorder extends Recorder {
  /** The other side has not taken for long what was recorded. */
  isCongested(): boolean;
  /** What the other side made of a label. */
  answer(call: number, outcome: LabelOutcome | Error): void;
  flush(): void;
  close(): void;
}

/** Records that the supervisor has not taken yet, and bytes of their rows; beyond either, records travel without rows, so that a slow disk cannot fill this process's memory. */
const MAX_UNDELIVERED_WITH_ROWS = 2_048;
const MAX_UNDELIVERED_BYTES = 8 * 1024 ** 2;
/** Records of any kind; beyond, whoever can do without more should. */
const MAX_UNDELIVERED_RECORDS = 20_000;
/** Of the rows of one batch: what the supervisor reads at once. */
const MAX_BATCH_BYTES = 1024 ** 2;
/** Of one batch: a request that comes while it is written waits for 70 µs, where 256 of them would be what the 99th percentile waits for. */
const MAX_RECORDS = 64;

/**
 * Collects what was served and hands it on every 100 ms, or with 64 records or a megabyte of rows, or as soon as somebody waits for what becomes of a label. Records
 * go before labels: a label follows its inference.
 */
export function createBatchingRecorder({
  deliver,
  flushMs = 100,
  maxRecords = MAX_RECORDS,
}: BatchingRecorderOptions): BatchingRecorder {
  let records: InferenceRecord[] = [];
  let bytes = 0;
  let labels: LabelCall[] = [];
  const inputs = new InputTally();
  let comparisons: Comparison[] = [];
  let undeliveredRecords = 0;
  let undeliveredBytes = 0;
  let lastCall = 0;
  const waiting = new Map<number, (outcome: LabelOutcome | Promise<never>) => void>();
  const flush = (): void => {
    if (records.length + labels.length + comparisons.length === 0 && inputs.isEmpty) return;
    const batch = { records, labels, comparisons, inputs: inputs.take() };
    const batchBytes = bytes;
    records = [];
    bytes = 0;
    labels = [];
    comparisons = [];
    undeliveredRecords += batch.records.length;
    undeliveredBytes += batchBytes;
    deliver(batch, () => {
      undeliveredRecords -= batch.records.length;
      undeliveredBytes -= batchBytes;
    });
  };
  const isBehind = (): boolean =>
    undeliveredRecords > MAX_UNDELIVERED_WITH_ROWS || undeliveredBytes > MAX_UNDELIVERED_BYTES;
  const timer = setInterval(() => {
    // Few and large ones where they are not taken: each costs memory of its own.
    if (!isBehind()) flush();
  }, flushMs);
  return {
    record(record) {
      const kept = isBehind() ? withoutRows(record) : record;
      records.push(kept);
      bytes += rowBytes(kept);
      if (records.length >= maxRecords || bytes >= MAX_BATCH_BYTES) flush();
    },
    compare(comparison) {
      comparisons.push(comparison);
      if (comparisons.length >= maxRecords) flush();
    },
    label(label) {
      // Those of one turn of the loop travel together.
      if (labels.length === 0) setImmediate(flush);
      lastCall += 1;
      labels.push({ call: lastCall, label });
      return new Promise((resolve) => waiting.set(lastCall, resolve));
    },
    answer(call, outcome) {
      waiting.get(call)?.(outcome instanceof Error ? Promise.reject(outcome) : outcome);
      waiting.delete(call);
    },
    inputs: (counts) => inputs.add(counts),
    isCongested: () => undeliveredRecords >= MAX_UNDELIVERED_RECORDS,
    flush,
    close() {
      clearInterval(timer);
      flush();
    },
  };
}
