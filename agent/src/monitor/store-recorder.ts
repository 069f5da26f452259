import { InputTally } from '../serve/input-tally.js';
import {
  rowBytes,
  withoutRows,
  type Comparison,
  type InferenceRecord,
  type LabelOutcome,
  type LabelRecord,
  type Recorder,
} from '../serve/recorder.js';
import { MonitorError } from './errors.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface StoreRecorderOptions {
  readonly store: Pick<TelemetryStore, 'record' | 'compare' | 'label' | 'inputs'>;
  /** A batch could not be stored, or had to be dropped; told once until a batch succeeds again. */
  readonly onIncident: (error: unknown) => void;
}

export interface StoreRecorder extends Recorder {
  /** Resolves when all that was handed over so far is stored (or was dropped, and said so). */
  settled(): Promise<void>;
}

interface WaitingLabel {
  readonly label: LabelRecord;
  readonly resolve: (outcome: LabelOutcome) => void;
  readonly reject: (error: Error) => void;
}

/** Records that wait for a slow disk; beyond, they are dropped. */
const MAX_WAITING = 20_000;
/** Of their rows; beyond, requests are counted without them. */
const MAX_WAITING_BYTES = 8 * 1024 ** 2;

/** Writes what is recorded into the store. What comes in while a write is under way makes up the next batch; records go before labels. */
export function createStoreRecorder({ store, onIncident }: StoreRecorderOptions): StoreRecorder {
  let records: InferenceRecord[] = [];
  let bytes = 0;
  let labels: WaitingLabel[] = [];
  const inputs = new InputTally();
  let comparisons: Comparison[] = [];
  let writing: Promise<void> | undefined;
  let isHealthy = true;

  const tell = (error: unknown): void => {
    if (isHealthy) onIncident(error);
    isHealthy = false;
  };
  const writeAll = async (): Promise<void> => {
    while (records.length + labels.length + comparisons.length > 0 || !inputs.isEmpty) {
      const [recordBatch, labelBatch, comparisonBatch] = [records, labels, comparisons];
      records = [];
      bytes = 0;
      labels = [];
      comparisons = [];
      const inputBatch = inputs.take();
      try {
        if (recordBatch.length > 0) await store.record(recordBatch);
        if (labelBatch.length > 0) await join(labelBatch);
        if (inputBatch.length > 0) await store.inputs(inputBatch);
        if (comparisonBatch.length > 0) await store.compare(comparisonBatch);
        isHealthy = true;
      } catch (error) {
        // Nobody is told that a label was joined whose inference may be what could not be written.
        for (const { reject } of labelBatch) reject(error as Error);
        tell(error);
      }
    }
    writing = undefined;
  };
  const join = async (batch: readonly WaitingLabel[]): Promise<void> => {
    const outcomes = await store.label(batch.map(({ label }) => label));
    outcomes.forEach((outcome, index) => batch[index]?.resolve(outcome));
  };
  const refusal = (): MonitorError | undefined => {
    if (records.length + labels.length + comparisons.length < MAX_WAITING) return undefined;
    const error = overloaded();
    tell(error);
    return error;
  };
  // After this turn of the loop: a burst becomes one transaction.
  const begin = (): void => void (writing ??= Promise.resolve().then(writeAll));
  return {
    record(record) {
      if (refusal()) return;
      const more = rowBytes(record);
      const hasRoom = bytes === 0 || bytes + more <= MAX_WAITING_BYTES;
      records.push(hasRoom ? record : withoutRows(record));
      if (hasRoom) bytes += more;
      begin();
    },
    compare(comparison) {
      if (refusal()) return;
      comparisons.push(comparison);
      begin();
    },
    label(label) {
      const refused = refusal();
      if (refused) return Promise.reject(refused);
      return new Promise((resolve, reject) => {
        labels.push({ label, resolve, reject });
        begin();
      });
    },
    inputs(counts) {
      // Sums: however long they wait, there are no more of them.
      inputs.add(counts);
      begin();
    },
    async settled() {
      while (writing) await writing;
    },
  };
}

const overloaded = (): MonitorError =>
  new MonitorError(
    'TELEMETRY_OVERLOADED',
    `The telemetry of ${MAX_WAITING} requests waits for the disk; more is dropped.`,
    { remedy: 'Check the disk of this device, or send fewer requests to it.' },
  );
