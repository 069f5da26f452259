import { parentPort, workerData } from 'node:worker_threads';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { openSession } from './session.js';
import { transferables } from '../tensors/tensor.js';
import type { RunMessage, SessionWorkerData, SessionWorkerMessage } from './worker-messages.js';

// Entry of a session worker: one model, one session, for as long as the thread lives (docs/architecture.md, inference process).
const port = parentPort;
if (!port) throw new Error('session-worker is the entry of a worker thread');
const post = (message: SessionWorkerMessage, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

try {
  const { model, options } = workerData as SessionWorkerData;
  const { session, provider } = await openSession(model, options);
  port.on('message', ({ call, inputs }: RunMessage) => {
    session.run(inputs).then(
      (outputs) => post({ kind: 'ran', call, outputs }, transferables(outputs)),
      (error: unknown) => post({ kind: 'failed', call, error: toCodedErrorJson(error) }),
    );
  });
  post({ kind: 'opened', provider });
} catch (error) {
  post({ kind: 'unopened', error: toCodedErrorJson(error) });
}
