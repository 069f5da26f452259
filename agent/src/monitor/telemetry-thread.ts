import { Worker } from 'node:worker_threads';
import { processEntry } from '../host/process-entry.js';
import { ForeignError } from '../serve/errors.js';
import { MonitorError } from './errors.js';
import type { TelemetryCall, TelemetryMessage, TelemetryThreadData } from './telemetry-messages.js';
import type { TelemetryStore } from './telemetry-store.js';

export interface TelemetryThreadOptions extends TelemetryThreadData {
  /** The database was damaged and rebuilt, or the thread died. */
  readonly onIncident: (error: unknown) => void;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The thread holds one small database and no model: the bounds keep its heap from growing into the supervisor's memory budget. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 48, maxYoungGenerationSizeMb: 4 };

/** The store on a thread of its own. A thread that died is replaced at the next call. @throws DatabaseError, as ForeignError */
export async function openTelemetryThread(options: TelemetryThreadOptions): Promise<TelemetryStore> {
  let thread = await startThread(options);
  const call = async (method: TelemetryCall['method'], args: unknown[]): Promise<never> => {
    if (thread.isDead() && method === 'close') return undefined as never;
    if (thread.isDead()) thread = await startThread(options);
    return (await thread.call(method, args)) as never;
  };
  return {
    record: (...args) => call('record', args),
    label: (...args) => call('label', args),
    requestLabels: (...args) => call('requestLabels', args),
    labelRequests: (...args) => call('labelRequests', args),
    answerLabel: (...args) => call('answerLabel', args),
    takeLabelListing: (...args) => call('takeLabelListing', args),
    window: (...args) => call('window', args),
    labelled: (...args) => call('labelled', args),
    takeCounts: (...args) => call('takeCounts', args),
    inputs: (...args) => call('inputs', args),
    takeInputHours: (...args) => call('takeInputHours', args),
    compare: (...args) => call('compare', args),
    takeComparisons: (...args) => call('takeComparisons', args),
    lastSampleId: (...args) => call('lastSampleId', args),
    saveVerdict: (...args) => call('saveVerdict', args),
    verdicts: (...args) => call('verdicts', args),
    async close(...args) {
      await call('close', args);
      await thread.ended;
    },
  };
}

interface TelemetryThread {
  isDead(): boolean;
  readonly ended: Promise<void>;
  call(method: TelemetryCall['method'], args: unknown[]): Promise<unknown>;
}

function startThread({ onIncident, ...workerData }: TelemetryThreadOptions): Promise<TelemetryThread> {
  const worker = new Worker(processEntry(import.meta.url, './telemetry-worker.js'), {
    workerData,
    resourceLimits: RESOURCE_LIMITS,
  });
  const waiting = new Map<number, Waiting>();
  let calls = 0;
  let dead = false;
  let closing = false;
  let death: Error | undefined;

  return new Promise((resolve, reject) => {
    const ended = new Promise<void>((end) => {
      worker.on('error', (error: Error) => (death = error));
      worker.on('exit', () => {
        dead = true;
        const error = new MonitorError('TELEMETRY_THREAD_DIED', 'The telemetry thread ended.', {
          remedy: 'It is started again by itself. If it happens again, lower telemetry.maxSamples.',
          where: workerData.file,
          cause: death,
        });
        if (!closing) onIncident(error);
        for (const each of waiting.values()) each.reject(error);
        waiting.clear();
        reject(error);
        end();
      });
    });
    const thread: TelemetryThread = {
      isDead: () => dead,
      ended,
      call: (method, args) =>
        new Promise((resolveCall, rejectCall) => {
          closing = method === 'close';
          const message = { call: ++calls, method, args } as TelemetryCall;
          waiting.set(message.call, { resolve: resolveCall, reject: rejectCall });
          worker.postMessage(message);
        }),
    };
    worker.on('message', (message: TelemetryMessage) => {
      switch (message.kind) {
        case 'opened':
          resolve(thread);
          return;
        case 'unopened':
          closing = true;
          reject(new ForeignError(message.error));
          return;
        case 'incident':
          onIncident(new ForeignError(message.error));
          return;
        case 'result':
        case 'failed': {
          const each = waiting.get(message.call);
          waiting.delete(message.call);
          if (message.kind === 'result') each?.resolve(message.value);
          else each?.reject(new ForeignError(message.error));
        }
      }
    });
  });
}
