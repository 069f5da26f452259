import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel, Replaced, ServedParameters } from '../../update/ports.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import type { Rejection } from '../parameters/board.js';
import type { Batch } from './batching-recorder.js';
import { endingOf, forkChild } from './fork-child.js';
import type { FromInference, ListenSettings, Started, ToInference } from './messages.js';

/** One life of the inference process. */
export interface InferenceProcess {
  readonly pid: number | undefined;
  /** Rejects with what the child said (PORT_IN_USE, …), or INFERENCE_PROCESS_DIED. */
  readonly started: Promise<Started>;
  /** Never rejects; resolves with how it ended. */
  readonly exited: Promise<string>;
  activate(model: InstalledModel, replaced: Replaced): Promise<RunningModel>;
  dropKept(model: ModelName): Promise<void>;
  deactivate(model: ModelName): Promise<void>;
  setParameters(model: ModelName, parameters: ServedParameters | undefined): Promise<void>;
  /** Asks it to finish and end; kills it when it does not. */
  stop(): Promise<void>;
}

export interface LaunchOptions {
  readonly settings: ListenSettings;
  readonly models: readonly InstalledModel[];
  readonly parameters: readonly ServedParameters[];
  readonly nodeFlags: readonly string[];
  readonly onBatch: (batch: Batch) => void;
  readonly onParametersRejected: (model: ModelName, rejection: Rejection) => void;
  readonly onIncident: (error: unknown) => void;
}

interface Waiting<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
}

/** Longer than the child takes to close its server and to drain its sessions. */
const STOP_TIMEOUT_MS = 20_000;

export function launchInference(options: LaunchOptions): InferenceProcess {
  const { settings, models, parameters, nodeFlags, onBatch, onParametersRejected, onIncident } = options;
  const child = forkChild('./inference-main.js', nodeFlags);
  const calls = new Map<number, Waiting<RunningModel | undefined>>();
  let lastCall = 0;
  let start: Waiting<Started> | undefined;

  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(endingOf(code, signal)));
    child.once('error', (error) => {
      onIncident(error);
      if (child.pid === undefined) resolve(`could not be started: ${error.message}`);
    });
  });
  const send = (message: ToInference): void => {
    // What cannot be sent any more is answered by the exit.
    if (child.connected) child.send(message, () => undefined);
  };
  const started = new Promise<Started>((resolve, reject) => (start = { resolve, reject }));
  const call = (message: (call: number) => ToInference): Promise<RunningModel | undefined> =>
    new Promise((resolve, reject) => {
      if (!child.connected) {
        reject(died('has ended'));
        return;
      }
      const id = ++lastCall;
      calls.set(id, { resolve, reject });
      send(message(id));
    });
  const take = (id: number): Waiting<RunningModel | undefined> | undefined => {
    const waiting = calls.get(id);
    calls.delete(id);
    return waiting;
  };

  child.on('message', (message: FromInference) => {
    switch (message.kind) {
      case 'started':
        return start?.resolve(message);
      case 'unstarted':
        return start?.reject(fromCodedErrorJson(message.error));
      case 'done':
        return take(message.call)?.resolve(message.running);
      case 'failed':
        return take(message.call)?.reject(fromCodedErrorJson(message.error));
      case 'batch':
        onBatch(message);
        return;
      case 'parameters-rejected':
        onParametersRejected(message.model, message.rejection);
        return;
      case 'incident':
        onIncident(fromCodedErrorJson(message.error));
        return;
    }
  });
  void exited.then((ending) => {
    start?.reject(died(ending));
    for (const waiting of calls.values()) waiting.reject(died(ending));
    calls.clear();
  });
  send({ kind: 'start', settings, models, parameters });

  return {
    pid: child.pid,
    started,
    exited,
    async activate(model, replaced) {
      const running = await call((id) => ({ kind: 'activate', call: id, model, replaced }));
      if (!running) throw new Error('the inference process activated a model without saying what it loaded');
      return running;
    },
    async dropKept(model) {
      await call((id) => ({ kind: 'drop-kept', call: id, model }));
    },
    async deactivate(model) {
      await call((id) => ({ kind: 'deactivate', call: id, model }));
    },
    async setParameters(model, given) {
      await call((id) => ({ kind: 'set-parameters', call: id, model, parameters: given }));
    },
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      send({ kind: 'stop' });
      await exited;
      clearTimeout(timer);
    },
  };
}

export const died = (ending: string): ServeError =>
  new ServeError('INFERENCE_PROCESS_DIED', `The inference process ${ending}.`, {
    remedy:
      'It is started again by itself. If it keeps dying, read its last log lines and go back to the release before.',
  });
