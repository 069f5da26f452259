import { Worker } from 'node:worker_threads';
import { toCodedErrorJson } from '@drover/shared/coded-error';
import { processEntry } from '../../host/process-entry.js';
import { fromCodedErrorJson, ServeError } from '../errors.js';
import type { Recorder } from '../recorder.js';
import type { Command, FromLane, LaneData, Question, ToLane } from './messages.js';

export interface LaneOptions extends LaneData {
  readonly answer: (question: Question, signal: AbortSignal) => Promise<unknown>;
  readonly recorder: Omit<Recorder, 'label'>;
  readonly onIncident: (error: unknown) => void;
  /** It ended without being asked to, and its connections with it. */
  readonly onLost: (error: ServeError) => void;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** One lane, as the thread that decides sees it. */
export class Lane {
  readonly started: Promise<void>;
  readonly #worker: Worker;
  readonly #options: LaneOptions;
  readonly #calls = new Map<number, Waiting>();
  readonly #questions = new Map<number, AbortController>();
  #lastCall = 0;
  #hasEnded = false;

  constructor(options: LaneOptions) {
    this.#options = options;
    const { settings, descriptors, models, regions, turns, thread } = options;
    const workerData: LaneData = { settings, descriptors, models, regions, turns, thread };
    this.#worker = new Worker(processEntry(import.meta.url, './lane-worker.js'), { workerData });
    this.started = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: FromLane) => {
        if (message.kind === 'started') resolve();
        else if (message.kind === 'unstarted') reject(fromCodedErrorJson(message.error));
        else this.#take(message);
      });
      let death: Error | undefined;
      this.#worker.on('error', (error: Error) => (death = error));
      this.#worker.on('exit', () => {
        const lost = new ServeError('INFERENCE_PROCESS_DIED', 'A thread of the protocol ended by itself.', {
          remedy: 'It is started again with its process. If it keeps ending, read the last log lines of the agent.',
          cause: death,
        });
        reject(lost);
        for (const waiting of this.#calls.values()) waiting.reject(lost);
        for (const question of this.#questions.values()) question.abort();
        if (!this.#hasEnded) options.onLost(lost);
      });
    });
  }

  /** Resolves when it has done so. */
  command(command: Command): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = ++this.#lastCall;
      this.#calls.set(call, { resolve, reject });
      this.#post({ kind: 'command', call, command });
    });
  }

  /** After its last connection. */
  async end(how: 'close' | 'retire'): Promise<void> {
    await this.command({ kind: 'end', how });
    this.#hasEnded = true;
    await this.#worker.terminate();
  }

  #post(message: ToLane): void {
    this.#worker.postMessage(message);
  }

  #take(message: Exclude<FromLane, { kind: 'started' | 'unstarted' }>): void {
    const { recorder, onIncident } = this.#options;
    switch (message.kind) {
      case 'done': {
        this.#settle(message.call, ({ resolve }) => resolve());
        return;
      }
      case 'failed': {
        this.#settle(message.call, ({ reject }) => reject(fromCodedErrorJson(message.error)));
        return;
      }
      case 'asked': {
        this.#answer(message.call, message.question);
        return;
      }
      case 'gone':
        this.#questions.get(message.call)?.abort();
        return;
      case 'batch':
        for (const record of message.records) recorder.record(record);
        for (const counts of message.inputs) recorder.inputs(counts);
        for (const comparison of message.comparisons) recorder.compare(comparison);
        return;
      case 'incident':
        onIncident(fromCodedErrorJson(message.error));
    }
  }

  #settle(call: number, settle: (waiting: Waiting) => void): void {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    if (waiting) settle(waiting);
  }

  #answer(call: number, question: Question): void {
    const controller = new AbortController();
    this.#questions.set(call, controller);
    this.#options
      .answer(question, controller.signal)
      .then(
        (answer) => this.#post({ kind: 'answered', call, answer }),
        (error: unknown) => this.#post({ kind: 'refused', call, error: toCodedErrorJson(error) }),
      )
      .finally(() => this.#questions.delete(call));
  }
}
