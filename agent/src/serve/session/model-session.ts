import type { InferenceSession } from 'onnxruntime-node';
import type { ProviderReport } from '@drover/shared/protocol';
import type { TensorMap } from '../tensors/tensor.js';

/** One loaded model that can be run, in this thread or another. */
export interface ModelSession {
  /**
   * Runs the whole signature: all inputs in, all outputs out. Of a recurrent model also its states: those that are not given are the initial ones, and
   * all are among the outputs. The inputs' buffers may be moved away by the call; do not read them afterwards.
   *
   * @throws ServeError MODEL_RUN_FAILED
   */
  run(inputs: TensorMap): Promise<TensorMap>;
  /** Frees the model. Runs that are still under way fail. */
  close(): Promise<void>;
}

/** A session whose execution provider was proven by a run. */
export interface OpenedSession {
  readonly session: ModelSession;
  readonly provider: ProviderReport;
}

export interface SessionOptions {
  /** Execution providers in the order in which they are tried; of these, the ones that a release requires where it does. */
  readonly providers: readonly string[];
  /** Threads inside one operator; 1 unless told otherwise, so that serving leaves the device its other cores. */
  readonly intraOpThreads?: number;
  /** Of the thread of a worker, where the system has priorities of threads: 19 is the lowest (nice(2)). */
  readonly niceness?: number;
  /** In place of the runtime's own, for providers that the machine of a test lacks. */
  readonly createNative?: (file: string, options: InferenceSession.SessionOptions) => Promise<InferenceSession>;
}
