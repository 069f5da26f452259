import type { InferenceRecord, LabelRecord, Recorder } from '../serve/recorder.js';
import { MonitorError } from './errors.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface StoreRecorderOptions {
  readonly store: Pick<TelemetryStore, 'record' | 'label'>;
  /** A batch could not be stored, or had to be dropped; told once until a batch succeeds again. */
  readonly onIncident: (error: unknown) => void;
}

export interface StoreRecorder extends Recorder {
  /** Resolves when all that was handed over so far is stored (or was dropped, and said so). */
  settled(): Promise<void>;
}

/** Records that wait for a slow disk; beyond, they are dropped. */
const MAX_WAITING = 20_000;

/** Writes what is recorded into the store. What comes in while a write is under way makes up the next batch; records go before labels. */
export function createStoreRecorder({ store, onIncident }: StoreRecorderOptions): StoreRecorder {
  let records: InferenceRecord[] = [];
  let labels: LabelRecord[] = [];
  let writing: Promise<void> | undefined;
  let isHealthy = true;

  const tell = (error: unknown): void => {
    if (isHealthy) onIncident(error);
    isHealthy = false;
  };
  const writeAll = async (): Promise<void> => {
    while (records.length > 0 || labels.length > 0) {
      const [recordBatch, labelBatch] = [records, labels];
      records = [];
      labels = [];
      try {
        if (recordBatch.length > 0) await store.record(recordBatch);
        if (labelBatch.length > 0) await store.label(labelBatch);
        isHealthy = true;
      } catch (error) {
        tell(error);
      }
    }
    writing = undefined;
  };
  const accept = (add: () => void): void => {
    if (records.length + labels.length >= MAX_WAITING) {
      tell(
        new MonitorError(
          'TELEMETRY_OVERLOADED',
          `The telemetry of ${MAX_WAITING} requests waits for the disk; more is dropped.`,
          {
            remedy: 'Check the disk of this device, or send fewer requests to it.',
          },
        ),
      );
      return;
    }
    add();
    // After this turn of the loop: a burst becomes one transaction.
    writing ??= Promise.resolve().then(writeAll);
  };
  return {
    record: (record) => accept(() => records.push(record)),
    label: (label) => accept(() => labels.push(label)),
    async settled() {
      while (writing) await writing;
    },
  };
}
