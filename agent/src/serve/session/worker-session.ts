import { Worker } from 'node:worker_threads';
import { processEntry } from '../../host/process-entry.js';
import type { Tolerance } from '@drover/shared/tensors';
import type { InstalledModel } from '../../update/ports.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import type { ModelSession, OpenedSession, SessionOptions } from './model-session.js';
import { transferables, type TensorMap } from '../tensors/tensor.js';
import type { Compared } from '../trials/compared.js';
import type { RunMessage, SessionWorkerData, SessionWorkerMessage } from './worker-messages.js';

export interface WorkerSessionOptions extends SessionOptions {
  /** The thread ended without being asked to: nothing serves this model any more. */
  readonly onLost: (error: ServeError) => void;
  /** For `compare`. */
  readonly tolerance?: Tolerance;
}

export interface WorkerSession extends ModelSession {
  /** Runs there and compares there; of what was answered a copy is made. */
  compare(inputs: TensorMap, answered: TensorMap): Promise<Compared>;
}

interface PendingRun {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** Like `openSession`, on a thread of its own, so that a run does not stall this one. Closing it ends the thread and what it held. */
export function openWorkerSession(
  model: InstalledModel,
  options: WorkerSessionOptions,
): Promise<OpenedSession & { readonly session: WorkerSession }> {
  const { onLost, tolerance, ...sessionOptions } = options;
  const workerData: SessionWorkerData = { model, options: sessionOptions, tolerance };
  const worker = new Worker(processEntry(import.meta.url, './session-worker.js'), { workerData });
  const pending = new Map<number, PendingRun>();
  let calls = 0;
  let state: 'opening' | 'open' | 'closed' = 'opening';
  let death: Error | undefined;

  const ask = <Result>(inputs: TensorMap, answered?: TensorMap): Promise<Result> =>
    new Promise((resolve, reject) => {
      if (state !== 'open') {
        reject(stopped());
        return;
      }
      const message: RunMessage = { call: ++calls, inputs, answered };
      pending.set(message.call, { resolve, reject });
      worker.postMessage(message, transferables(inputs));
    });
  const session: WorkerSession = {
    run: (inputs) => ask<TensorMap>(inputs),
    compare: (inputs, answered) => ask<Compared>(inputs, answered),
    async close() {
      state = 'closed';
      await worker.terminate();
    },
  };

  const stopped = (): ServeError =>
    new ServeError('MODEL_RUN_FAILED', `The session of ${model.model} ended before the run did.`, {
      remedy:
        'Send the request again; if it happens often, look for crashes of the model in the reports of this device.',
      cause: death,
    });

  return new Promise((resolve, reject) => {
    worker.on('message', (message: SessionWorkerMessage) => {
      switch (message.kind) {
        case 'opened':
          state = 'open';
          resolve({ session, provider: message.provider });
          return;
        case 'unopened':
          reject(fromCodedErrorJson(message.error));
          return void session.close();
        case 'ran':
        case 'compared':
        case 'failed': {
          const run = pending.get(message.call);
          pending.delete(message.call);
          if (message.kind === 'ran') run?.resolve(message.outputs as never);
          else if (message.kind === 'compared') run?.resolve(message.compared as never);
          else run?.reject(fromCodedErrorJson(message.error));
        }
      }
    });
    worker.on('error', (error: Error) => (death = error));
    worker.on('exit', () => {
      const wasState = state;
      state = 'closed';
      for (const run of pending.values()) run.reject(stopped());
      pending.clear();
      if (wasState === 'opening') reject(stopped());
      if (wasState === 'open') onLost(stopped());
    });
  });
}
