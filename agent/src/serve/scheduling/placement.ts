import type { Batching } from './run-queue.js';

export interface Measured {
  /** Median of a run, on one thread, in a session of its own. */
  readonly runMs: number;
  /** Rows of several requests may be put together: it was shown that none changes the answer to another. */
  readonly isBatchable: boolean;
  /** Of the model file. */
  readonly fileBytes: number;
  /** The execution provider that runs it. */
  readonly provider: string;
}

export interface Machine {
  readonly cores: number;
  readonly freeBytes: number;
  /** How long a request may wait for others to be run with, while a session is free. */
  readonly maxBatchDelayMs: number;
}

export interface Placement {
  /** On the thread of the protocol, or on worker threads. */
  readonly where: 'inline' | 'workers';
  /** That may run at a time. */
  readonly maxSessions: number;
  readonly batching?: Batching | undefined;
}

/** Handing a request to another thread and its answer back takes longer than this run; and so short a run keeps nobody waiting. */
const INLINE_BELOW_MS = 0.5;
const MAX_SESSIONS = 4;
/** A loaded model takes about that many times its file: weights, prepacked weights, arena. */
const MEMORY_FACTOR = 3;
/** Of the memory that is free, for all sessions but the first. */
const MEMORY_SHARE = 0.25;
const MAX_BATCH_ROWS = 32;

/** Where a model runs, decided by what was measured when it was loaded. */
export function decidePlacement(measured: Measured, { cores, freeBytes, maxBatchDelayMs }: Machine): Placement {
  const { runMs, isBatchable, fileBytes, provider } = measured;
  // Without a delay only what would wait anyway is put together.
  const batching = isBatchable ? { maxRows: MAX_BATCH_ROWS, maxDelayMs: maxBatchDelayMs } : undefined;
  if (runMs < INLINE_BELOW_MS) return { where: 'inline', maxSessions: 1, batching };
  // A GPU runs one thing after the other, and holds each session's weights and engine.
  if (provider !== 'cpu') return { where: 'workers', maxSessions: 1, batching };
  const fitting = 1 + Math.floor((MEMORY_SHARE * freeBytes) / Math.max(1, MEMORY_FACTOR * fileBytes));
  return { where: 'workers', maxSessions: Math.min(cores, fitting, MAX_SESSIONS), batching };
}
