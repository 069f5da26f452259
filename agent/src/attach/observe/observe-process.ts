import { toCodedErrorJson } from '@drover/shared/coded-error';
import { backoffMs } from '../../host/backoff.js';
import type { Clock } from '../../host/clock.js';
import { fromCodedErrorJson } from '../../serve/errors.js';
import type { LabelCall } from '../../serve/process/batching-recorder.js';
import { endingOf, forkChild } from '../../serve/process/fork-child.js';
import type { InferenceRecord, InputCounts, LabelOutcome, LabelRecord } from '../../serve/recorder.js';
import { AttachError } from '../errors.js';
import type { ExpectedReleases, FromObserve, ObserveSettings, Said, ToObserve } from './process-messages.js';

export interface ObserveProcessOptions {
  readonly settings: ObserveSettings;
  /** What the next life of the process begins with. */
  readonly expected: () => readonly ExpectedReleases[];
  readonly clock: Clock;
  readonly onSaid: (said: Said) => void;
  readonly onRecord: (record: InferenceRecord) => void;
  readonly onInputs: (counts: InputCounts) => void;
  readonly onLabel: (label: LabelRecord) => Promise<LabelOutcome>;
  /** It died: nothing that was said over it is known to hold. */
  readonly onLost: () => void;
  readonly onIncident: (error: unknown) => void;
}

const RESTART = { firstMs: 50, maxMs: 30_000 };
/** A life of this length starts over with short pauses. */
const STABLE_LIFE_MS = 10_000;
const STOP_TIMEOUT_MS = 5_000;

interface Life {
  readonly started: Promise<void>;
  /** Never rejects; resolves with how it ended. */
  readonly exited: Promise<string>;
  send(message: ToObserve): void;
  kill(): void;
}

/** The process that applications observe through, started again whenever it ends. */
export class ObserveProcess {
  readonly #options: ObserveProcessOptions;
  readonly #closing = new AbortController();
  #life: Life | undefined;
  #supervising: Promise<void> = Promise.resolve();

  private constructor(options: ObserveProcessOptions) {
    this.#options = options;
  }

  /** Resolves when it listens. @throws AttachError OBSERVE_SOCKET_UNUSABLE, OBSERVE_PROCESS_DIED */
  static async open(options: ObserveProcessOptions): Promise<ObserveProcess> {
    const observe = new ObserveProcess(options);
    const first = observe.#launch();
    try {
      await first.started;
    } catch (error) {
      await first.exited;
      throw error;
    }
    observe.#supervising = observe.#superviseFrom(first);
    return observe;
  }

  expect(expected: ExpectedReleases): void {
    this.#life?.send({ kind: 'expect', expected });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const timer = setTimeout(() => this.#life?.kill(), STOP_TIMEOUT_MS);
    this.#life?.send({ kind: 'stop' });
    await this.#supervising;
    clearTimeout(timer);
  }

  async #superviseFrom(first: Life): Promise<void> {
    const { clock, onLost, onIncident } = this.#options;
    let life = first;
    for (let quickDeaths = 0; ;) {
      const bornMs = clock.monotonic();
      const ending = await life.exited;
      onLost();
      if (this.#isClosing()) return;
      onIncident(died(ending));
      quickDeaths = clock.monotonic() - bornMs >= STABLE_LIFE_MS ? 0 : quickDeaths + 1;
      await clock.sleep(backoffMs(RESTART, quickDeaths), this.#closing.signal).catch((error: unknown) => {
        if (!this.#isClosing()) throw error;
      });
      if (this.#isClosing()) return;
      life = this.#launch();
      await life.started.catch(onIncident);
    }
  }

  #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  #launch(): Life {
    const { settings, expected, onSaid, onRecord, onInputs, onLabel } = this.#options;
    const child = forkChild('./observe-main.js', []);
    const exited = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(endingOf(code, signal)));
      child.once('error', (error) => {
        if (child.pid === undefined) resolve(`could not be started: ${error.message}`);
      });
    });
    const send = (message: ToObserve): void => {
      // What cannot be sent any more is answered by the exit.
      if (child.connected) child.send(message, () => undefined);
    };
    const answer = ({ call, label }: LabelCall): void =>
      void onLabel(label).then(
        (outcome) => send({ kind: 'labelled', call, outcome }),
        (error: unknown) => send({ kind: 'label-failed', call, error: toCodedErrorJson(error) }),
      );
    const started = new Promise<void>((resolve, reject) => {
      child.on('message', (message: FromObserve) => {
        switch (message.kind) {
          case 'started':
            resolve();
            return;
          case 'unstarted':
            reject(fromCodedErrorJson(message.error));
            return;
          case 'said':
            onSaid(message.said);
            return;
          case 'batch':
            message.records.forEach(onRecord);
            message.inputs.forEach(onInputs);
            message.labels.forEach(answer);
        }
      });
      void exited.then((ending) => reject(died(ending)));
    });
    // A life that ends before anybody asks has told so by its exit.
    started.catch(() => undefined);
    send({ kind: 'start', settings, expected: expected() });
    return (this.#life = { started, exited, send, kill: () => void child.kill('SIGKILL') });
  }
}

const died = (ending: string): AttachError =>
  new AttachError('OBSERVE_PROCESS_DIED', `The observe process ${ending}.`, {
    remedy: 'It is started again by itself. If it keeps dying, read its last log lines and report them.',
  });
