import { Worker } from 'node:worker_threads';
import { processEntry } from '../../host/process-entry.js';
import type { InstalledModel } from '../../update/ports.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import type { ModelSession, OpenedSession, SessionOptions } from './model-session.js';
import { transferables, type TensorMap } from '../tensors/tensor.js';
import type { RunMessage, SessionWorkerData, SessionWorkerMessage } from './worker-messages.js';

export interface WorkerSessionOptions extends SessionOptions {
  /** The thread ended without being asked to: nothing serves this model any more. */
  readonly onLost: (error: ServeError) => void;
}

interface PendingRun {
  readonly resolve: (outputs: TensorMap) => void;
  readonly reject: (error: Error) => void;
}

/** Like `openSession`, on a thread of its own, so that a run does not stall this one. Closing it ends the thread and what it held. */
export function openWorkerSession(model: InstalledModel, options: WorkerSessionOptions): Promise<OpenedSession> {
  const { onLost, ...sessionOptions } = options;
  const workerData: SessionWorkerData = { model, options: sessionOptions };
  const worker = new Worker(processEntry(import.meta.url, './session-worker.js'), { workerData });
  const pending = new Map<number, PendingRun>();
  let calls = 0;
  let state: 'opening' | 'open' | 'closed' = 'opening';
  let death: Error | undefined;

  const session: ModelSession = {
    run: (inputs) =>
      new Promise((resolve, reject) => {
        if (state !== 'open') {
          reject(stopped());
          return;
        }
        const message: RunMessage = { call: ++calls, inputs };
        pending.set(message.call, { resolve, reject });
        worker.postMessage(message, transferables(inputs));
      }),
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
        case 'failed': {
          const run = pending.get(message.call);
          pending.delete(message.call);
          if (message.kind === 'ran') run?.resolve(message.outputs);
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
