import { parentPort, workerData } from 'node:worker_threads';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { platform, setPriority } from 'node:os';
import { openSession } from './session.js';
import { transferables } from '../tensors/tensor.js';
import { comparing } from '../trials/compared.js';
import type { RunMessage, SessionWorkerData, SessionWorkerMessage } from './worker-messages.js';

// Entry of a session worker: one model, one session, for as long as the thread lives (docs/architecture.md, inference process).
const port = parentPort;
if (!port) throw new Error('session-worker is the entry of a worker thread');
const post = (message: SessionWorkerMessage, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

try {
  const { model, options, tolerance } = workerData as SessionWorkerData;
  // On Linux this is the priority of the calling thread alone (setpriority(2)); elsewhere it would be that of the whole process.
  if (options.niceness !== undefined && platform() === 'linux') setPriority(options.niceness);
  const { session, provider } = await openSession(model, options);
  const compare = tolerance && comparing(session, model, tolerance);
  port.on('message', ({ call, inputs, answered }: RunMessage) => {
    if (compare && answered) {
      compare(inputs, answered).then(
        (compared) => post({ kind: 'compared', call, compared }),
        (error: unknown) => post({ kind: 'failed', call, error: toCodedErrorJson(error) }),
      );
      return;
    }
    session.run(inputs).then(
      (outputs) => post({ kind: 'ran', call, outputs }, transferables(outputs)),
      (error: unknown) => post({ kind: 'failed', call, error: toCodedErrorJson(error) }),
    );
  });
  post({ kind: 'opened', provider });
} catch (error) {
  post({ kind: 'unopened', error: toCodedErrorJson(error) });
}
