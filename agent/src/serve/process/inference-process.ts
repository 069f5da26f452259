import { toCodedErrorJson, type CodedError } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel, Replaced, ServedParameters, Trial } from '../../update/ports.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import type { Rejection } from '../parameters/board.js';
import type { Comparison, InferenceRecord, InputCounts, LabelOutcome, LabelRecord } from '../recorder.js';
import { endingOf, forkChild } from './fork-child.js';
import type { ListenerHandle, ListenerPlace } from '../protocol/listener.js';
import type { Region } from '../protocol/shared-memory.js';
import type { DeskQuestion, DeskReply } from './remote-desk.js';
import type { Beginning, FromInference, Started, ToInference } from './messages.js';

/** One life of the inference process. */
export interface InferenceProcess {
  readonly pid: number | undefined;
  /** Rejects with what the child said (PORT_IN_USE, …), or INFERENCE_PROCESS_DIED. */
  readonly started: Promise<Started>;
  /** Of one that relieves another: it has loaded every model, and can take over. Rejects as `started` does. */
  readonly loaded: Promise<unknown>;
  /** Never rejects; resolves with how it ended. */
  readonly exited: Promise<string>;
  /** The one before it has given way: it starts to answer. */
  takeOver(regions: readonly Region[]): void;
  activate(model: InstalledModel, replaced: Replaced): Promise<RunningModel>;
  dropKept(model: ModelName): Promise<void>;
  deactivate(model: ModelName): Promise<void>;
  setParameters(model: ModelName, parameters: ServedParameters | undefined): Promise<void>;
  startTrial(trial: Trial): Promise<RunningModel>;
  endTrial(model: ModelName): Promise<void>;
  /** Asks it to finish and end; kills it when it does not. */
  stop(): Promise<void>;
  /**
   * Asks it to leave new requests to another, and to end with the last of its connections; kills it when it does not. Resolves when it answers no new request any more, or has ended.
   */
  retire(): Promise<void>;
}

export interface LaunchOptions extends Beginning {
  /** Sockets that listen already. */
  readonly listeners: ReadonlyMap<ListenerPlace, ListenerHandle>;
  readonly nodeFlags: readonly string[];
  readonly onListening: (place: ListenerPlace, handle: ListenerHandle) => void;
  readonly onRegions: (regions: readonly Region[]) => void;
  readonly onRecords: (records: readonly InferenceRecord[]) => void;
  readonly onInputs: (counts: InputCounts) => void;
  readonly onComparisons: (comparisons: readonly Comparison[]) => void;
  /** Called after the records that came before it were handed over. */
  readonly onLabel: (label: LabelRecord) => Promise<LabelOutcome>;
  readonly onQuestion: (question: DeskQuestion) => Promise<DeskReply>;
  readonly onParametersRejected: (model: ModelName, rejection: Rejection) => void;
  readonly onTrialLost: (model: ModelName, error: CodedError) => void;
  readonly onIncident: (error: unknown) => void;
}

interface Waiting<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
}

/** Longer than the child takes to close its server and to drain its sessions. */
const STOP_TIMEOUT_MS = 20_000;
/** Updates wait for it. */
const GIVE_WAY_TIMEOUT_MS = 10_000;
/** Longer than its connections may last. */
const RETIRE_TIMEOUT_MS = 150_000;
/**
 * Large bodies are garbage outside the heap, for which V8 collects all of it again and again. With threads of its own that takes the cores from the models, a quarter of all processor time; alone,
 * a collection of this small heap takes some milliseconds.
 */
const COLLECTOR_FLAGS = ['--single-threaded-gc'];

export function launchInference(options: LaunchOptions): InferenceProcess {
  const { isRestart, settings, models, parameters, regions, relieves, listeners, nodeFlags, onIncident } = options;
  const child = forkChild('./inference-main.js', [...COLLECTOR_FLAGS, ...nodeFlags]);
  const calls = new Map<number, Waiting<RunningModel | undefined>>();
  let lastCall = 0;
  let start: Waiting<Started> | undefined;
  let onLoaded: (() => void) | undefined;
  let gaveWay: (() => void) | undefined;

  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(endingOf(code, signal)));
    child.once('error', (error) => {
      onIncident(error);
      if (child.pid === undefined) resolve(`could not be started: ${error.message}`);
    });
  });
  const send = (message: ToInference, handle?: ListenerHandle): void => {
    // What cannot be sent any more is answered by the exit.
    if (child.connected) child.send(message, handle, () => undefined);
  };
  const started = new Promise<Started>((resolve, reject) => (start = { resolve, reject }));
  const loaded = Promise.race([new Promise<void>((resolve) => (onLoaded = resolve)), started]);
  // Of the others, `started` tells.
  loaded.catch(() => undefined);
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

  child.on('message', (message: FromInference, handle) => {
    switch (message.kind) {
      case 'listening':
        options.onListening(message.place, handle);
        // A descriptor of its own for each of the other threads.
        for (let thread = 1; thread < (settings.protocolThreads ?? 1); thread += 1)
          send({ kind: 'lent', place: message.place }, handle);
        return;
      case 'regions':
        options.onRegions(message.regions);
        return;
      case 'started':
        return start?.resolve(message);
      case 'unstarted':
        return start?.reject(fromCodedErrorJson(message.error));
      case 'loaded':
        return onLoaded?.();
      case 'gave-way':
        return gaveWay?.();
      case 'done':
        return take(message.call)?.resolve(message.running);
      case 'failed':
        return take(message.call)?.reject(fromCodedErrorJson(message.error));
      case 'batch':
        options.onRecords(message.records);
        for (const counts of message.inputs) options.onInputs(counts);
        options.onComparisons(message.comparisons);
        for (const { call: id, label } of message.labels) {
          options.onLabel(label).then(
            (outcome) => send({ kind: 'labelled', call: id, outcome }),
            (error: unknown) => send({ kind: 'label-failed', call: id, error: toCodedErrorJson(error) }),
          );
        }
        return;
      case 'desk-asked':
        options.onQuestion(message.question).then(
          (reply) => send({ kind: 'desk-told', call: message.call, reply }),
          (error: unknown) => send({ kind: 'desk-failed', call: message.call, error: toCodedErrorJson(error) }),
        );
        return;
      case 'parameters-rejected':
        options.onParametersRejected(message.model, message.rejection);
        return;
      case 'trial-lost':
        options.onTrialLost(message.model, fromCodedErrorJson(message.error));
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
  for (const [place, handle] of listeners) send({ kind: 'listener', place }, handle);
  send({ kind: 'start', isRestart, settings, models, parameters, regions, relieves });
  const killAfter = async (timeoutMs: number, unless: Promise<unknown>): Promise<void> => {
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    await unless;
    clearTimeout(timer);
  };

  return {
    pid: child.pid,
    started,
    loaded,
    exited,
    takeOver: (inherited) => send({ kind: 'take-over', regions: inherited }),
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
    async startTrial(trial) {
      const running = await call((id) => ({ kind: 'start-trial', call: id, trial }));
      if (!running) throw new Error('the inference process began a trial without saying what it loaded');
      return running;
    },
    async endTrial(model) {
      await call((id) => ({ kind: 'end-trial', call: id, model }));
    },
    stop() {
      send({ kind: 'stop' });
      return killAfter(STOP_TIMEOUT_MS, exited);
    },
    retire() {
      const hasGivenWay = new Promise<void>((resolve) => (gaveWay = resolve));
      send({ kind: 'retire' });
      void killAfter(RETIRE_TIMEOUT_MS, exited);
      return killAfter(GIVE_WAY_TIMEOUT_MS, Promise.race([hasGivenWay, exited]));
    },
  };
}

export const died = (ending: string): ServeError =>
  new ServeError('INFERENCE_PROCESS_DIED', `The inference process ${ending}.`, {
    remedy:
      'It is started again by itself. If it keeps dying, read its last log lines and go back to the release before.',
  });
