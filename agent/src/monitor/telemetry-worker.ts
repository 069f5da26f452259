import { parentPort, workerData } from 'node:worker_threads';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { openTelemetry } from './sqlite-telemetry.js';
import type { TelemetryCall, TelemetryMessage, TelemetryThreadData } from './telemetry-messages.js';
import type { SynchronousTelemetry } from './telemetry-store.js';

// Entry of the telemetry thread: better-sqlite3 is synchronous, and an fsync on an SD card can take 100 ms (docs/architecture.md, supervisor).
const port = parentPort;
if (!port) throw new Error('telemetry-worker is the entry of a worker thread');
const post = (message: TelemetryMessage): void => port.postMessage(message);

function answer(store: SynchronousTelemetry, { call, method, args }: TelemetryCall): void {
  try {
    const run = store[method].bind(store) as (...args: unknown[]) => unknown;
    const value = run(...args);
    post({ kind: 'result', call, value });
    // Nothing can be asked of a closed store: the thread ends.
    if (method === 'close') port?.close();
  } catch (error) {
    post({ kind: 'failed', call, error: toCodedErrorJson(error) });
  }
}

try {
  const store = openTelemetry({
    ...(workerData as TelemetryThreadData),
    nowMs: () => Date.now(),
    onRebuilt: (error) => post({ kind: 'incident', error: error.toJSON() }),
  });
  port.on('message', (message: TelemetryCall) => answer(store, message));
  post({ kind: 'opened' });
} catch (error) {
  post({ kind: 'unopened', error: toCodedErrorJson(error) });
}
