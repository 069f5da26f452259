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

/** Batches that the supervisor has not taken yet; beyond, records travel without their rows, so that a slow disk cannot fill this process's memory. */
const MAX_UNDELIVERED = 8;
/** Records in them; beyond, whoever can do without more should. */
const MAX_UNDELIVERED_RECORDS = 20_000;
/** Of the rows of one batch: what the supervisor reads at once. */
const MAX_BATCH_BYTES = 1024 ** 2;

/**
 * Collects what was served and hands it on every 100 ms, or with 256 records or a megabyte of rows, or as soon as somebody waits for what becomes of a label. Records
 * go before labels: a label follows its inference.
 */
export function createBatchingRecorder({
  deliver,
  flushMs = 100,
  maxRecords = 256,
}: BatchingRecorderOptions): BatchingRecorder {
  let records: InferenceRecord[] = [];
  let bytes = 0;
  let labels: LabelCall[] = [];
  const inputs = new InputTally();
  let comparisons: Comparison[] = [];
  let undelivered = 0;
  let undeliveredRecords = 0;
  let lastCall = 0;
  const waiting = new Map<number, (outcome: LabelOutcome | Promise<never>) => void>();
  const flush = (): void => {
    if (records.length + labels.length + comparisons.length === 0 && inputs.isEmpty) return;
    const batch = { records, labels, comparisons, inputs: inputs.take() };
    records = [];
    bytes = 0;
    labels = [];
    comparisons = [];
    undelivered += 1;
    undeliveredRecords += batch.records.length;
    deliver(batch, () => {
      undelivered -= 1;
      undeliveredRecords -= batch.records.length;
    });
  };
  const timer = setInterval(() => {
    // Few and large ones where they are not taken: each costs memory of its own.
    if (undelivered <= MAX_UNDELIVERED) flush();
  }, flushMs);
  return {
    record(record) {
      const kept = undelivered > MAX_UNDELIVERED ? withoutRows(record) : record;
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
