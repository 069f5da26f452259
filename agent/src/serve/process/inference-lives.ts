import type { Clock } from '../../host/clock.js';
import { closeHandle, type ListenerHandle, type ListenerPlace } from '../protocol/listener.js';
import type { Region } from '../protocol/shared-memory.js';
import { ServeError } from '../errors.js';
import { died, type InferenceProcess, type LaunchOptions } from './inference-process.js';
import type { Started } from './messages.js';

/** What a life takes over from those before it. */
export type Inheritance = Pick<
  LaunchOptions,
  'isRestart' | 'relieves' | 'listeners' | 'regions' | 'onListening' | 'onRegions'
>;

export interface LivesOptions {
  readonly clock: Clock;
  /** Starts a process with what shall be served now. */
  readonly launch: (inheritance: Inheritance) => InferenceProcess;
  /** A process is up: it takes new requests from now on, and has loaded these. */
  readonly onUp: (child: InferenceProcess, running: Started['running']) => void;
  /** No process takes requests until `onUp`. */
  readonly onDown: () => void;
  /** The process ended by itself. */
  readonly onDeath: (ending: string) => void;
  /** Somebody is judging a candidate, and may want the next life to begin without it. */
  readonly isJudged: () => boolean;
  readonly onIncident: (error: unknown) => void;
}

/** Pauses between restarts: 50 ms, then four times as long each, at most 30 s; a life of 10 s starts over. */
const FIRST_PAUSE_MS = 50;
/** Whoever judges a candidate looks ten times a second. */
const FIRST_PAUSE_WHILE_JUDGED_MS = 400;
const PAUSE_FACTOR = 4;
const MAX_PAUSE_MS = 30_000;
/** While somebody waits to activate another model, which may be the cure. */
const MAX_AWAITED_PAUSE_MS = 1_000;
const STABLE_LIFE_MS = 10_000;
/** For loading everything that is served once more. */
const RELIEF_TIMEOUT_MS = 5 * 60_000;
/** For listening, on sockets that are there: meanwhile nobody answers. */
const TAKE_OVER_TIMEOUT_MS = 10_000;
/** Deaths soon after a start, after which nobody shall be kept waiting for the next. */
const MAX_AWAITED_DEATHS = 2;

/**
 * The inference process, life after life, on the same sockets.
 *
 * INVARIANT: `current` is the one that answers new requests; one that was relieved by another hands them on, ends with its last connection, and is asked for nothing more.
 */
export class InferenceLives {
  readonly #options: LivesOptions;
  readonly #closing = new AbortController();
  readonly #waiters = new Set<() => void>();
  /** Held here as well, so that connections wait while a process is started again. */
  readonly #listeners = new Map<ListenerPlace, ListenerHandle>();
  #regions: readonly Region[] = [];
  /** Relieved, and not ended yet. */
  readonly #relieved = new Set<InferenceProcess>();
  #process: InferenceProcess | undefined;
  /** Another is taking the place of the process. */
  #relief: Promise<void> | undefined;
  /** Things that the process is being asked for. */
  #asking = 0;
  #isUp = false;
  /** Some process has been up. */
  #hasServed = false;
  #quickDeaths = 0;
  #pause = new AbortController();

  constructor(options: LivesOptions) {
    this.#options = options;
  }

  get current(): InferenceProcess | undefined {
    return this.#process;
  }

  /** Takes new requests. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** Up, and nobody asks it for anything: another may take its place. */
  get isIdle(): boolean {
    return this.#isUp && !this.#relief && this.#asking === 0 && !this.#isClosing();
  }

  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** The first life. @returns the port that it listens on @throws ServeError PORT_IN_USE, SERVE_ADDRESS_UNUSABLE, INFERENCE_PROCESS_DIED */
  async begin(): Promise<number> {
    const child = this.#launch();
    const { port, running } = await child.started.catch(async (error: unknown) => {
      await child.exited;
      throw error;
    });
    this.#process = child;
    this.#up(child, running);
    void this.#superviseFrom(child);
    return port;
  }

  /** Waits for the process where that is being started. @throws what closed this, and what the process answers with */
  async ask<Answer>(signal: AbortSignal, what: (child: InferenceProcess) => Promise<Answer>): Promise<Answer> {
    // Counted before it is up: between the two, another process might take its place without what is asked for here.
    this.#asking += 1;
    try {
      return await what(await this.#whenUp(signal));
    } finally {
      this.#asking -= 1;
    }
  }

  /** Where no process is up, the next begins without what is taken away here. */
  async askIfUp(what: (child: InferenceProcess) => Promise<void>): Promise<void> {
    await this.#relief?.catch(() => undefined);
    if (this.#isUp) await this.ask(this.closing, what);
  }

  /**
   * Puts another process in the place of the current one: beside it, so that no request fails, or after it, where there is no room for both.
   *
   * @throws what kept the other from starting beside it; then the first goes on
   */
  async replace(how: 'beside' | 'after'): Promise<void> {
    const child = this.#process;
    if (!child) return;
    try {
      await (this.#relief = how === 'beside' ? this.#relieve(child) : this.#startAfresh(child));
    } finally {
      this.#relief = undefined;
      this.#wake();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new ServeError('SERVE_CLOSED', 'Serving was stopped.', { remedy: 'Start the agent again.' }));
    this.#pause.abort();
    this.#wake();
    await this.#relief?.catch(this.#options.onIncident);
    const living = [...this.#relieved, ...(this.#process ? [this.#process] : [])];
    await Promise.all(living.map((child) => child.stop()));
    this.#dropListeners();
  }

  #launch(relieves = false): InferenceProcess {
    const child = this.#options.launch({
      isRestart: this.#hasServed,
      relieves,
      listeners: this.#listeners,
      regions: this.#regions,
      onListening: (place, handle) => {
        const before = this.#listeners.get(place);
        if (before) closeHandle(before);
        this.#listeners.set(place, handle);
      },
      onRegions: (regions) => {
        if (!this.#relieved.has(child)) this.#regions = regions;
      },
    });
    return child;
  }

  async #relieve(child: InferenceProcess): Promise<void> {
    const other = this.#launch(true);
    // Updates wait for it: one that hangs is ended, and the first goes on.
    await stopAfter(RELIEF_TIMEOUT_MS, other, other.loaded);
    this.#process = other;
    // From here on, connections and requests wait for the other: were both to answer, a sequence could live in both, and a region be registered with the one and asked for at the other.
    await child.retire();
    this.#relieved.add(child);
    void child.exited.then(() => this.#relieved.delete(child));
    other.takeOver(this.#regions);
    void this.#superviseFrom(other);
    await stopAfter(TAKE_OVER_TIMEOUT_MS, other, this.#begun(other));
  }

  async #startAfresh(child: InferenceProcess): Promise<void> {
    this.#down();
    this.#process = undefined;
    await child.stop();
    this.closing.throwIfAborted();
    const other = this.#launch();
    this.#process = other;
    await this.#begun(other);
    void this.#superviseFrom(other);
  }

  /** Life after life, until closed or relieved. */
  async #superviseFrom(first: InferenceProcess): Promise<void> {
    const { clock, onIncident, onDeath } = this.#options;
    let child = first;
    let bornMs = clock.monotonic();
    for (;;) {
      const ending = await child.exited;
      if (child !== this.#process) return;
      const wasUp = this.#isUp;
      this.#down();
      if (this.#isClosing()) return;
      onDeath(ending);
      if (wasUp) onIncident(died(ending));
      // Whoever was about to relieve it does so all the same.
      await this.#relief?.catch(() => undefined);
      if (child !== this.#process) return;
      this.#quickDeaths = clock.monotonic() - bornMs >= STABLE_LIFE_MS ? 0 : this.#quickDeaths + 1;
      if (this.#quickDeaths >= MAX_AWAITED_DEATHS) this.#dropListeners();
      await this.#pauseBeforeRestart();
      if (this.#isClosing()) return;
      bornMs = clock.monotonic();
      child = this.#launch();
      this.#process = child;
      await this.#begun(child);
    }
  }

  async #begun(child: InferenceProcess): Promise<void> {
    const { onIncident } = this.#options;
    await child.started.then(
      ({ running, failed }) => {
        for (const { error } of failed) onIncident(error);
        this.#up(child, running);
      },
      (error: unknown) => onIncident(error),
    );
  }

  #up(child: InferenceProcess, running: Started['running']): void {
    this.#isUp = true;
    this.#hasServed = true;
    this.#options.onUp(child, running);
    this.#wake();
  }

  #down(): void {
    this.#isUp = false;
    this.#options.onDown();
  }

  #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  #dropListeners(): void {
    for (const handle of this.#listeners.values()) closeHandle(handle);
    this.#listeners.clear();
  }

  /** Exponential; jittered over its upper half, so that devices that fell together do not rise together. */
  async #pauseBeforeRestart(): Promise<void> {
    const capMs = this.#waiters.size > 0 ? MAX_AWAITED_PAUSE_MS : MAX_PAUSE_MS;
    const firstMs = this.#options.isJudged() ? FIRST_PAUSE_WHILE_JUDGED_MS : FIRST_PAUSE_MS;
    const ceilingMs = Math.min(capMs, firstMs * PAUSE_FACTOR ** Math.max(0, this.#quickDeaths - 1));
    this.#pause = new AbortController();
    await this.#options.clock
      .sleep(ceilingMs * (0.5 + Math.random() / 2), this.#pause.signal)
      .catch((error: unknown) => {
        if (!this.#pause.signal.aborted) throw error;
      });
  }

  /** Whoever waits also ends the pause before the next restart. */
  async #whenUp(signal: AbortSignal): Promise<InferenceProcess> {
    while (!(this.#isUp && this.#process) || this.#relief) {
      signal.throwIfAborted();
      this.closing.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiters.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiters.add(wake);
        signal.addEventListener('abort', wake, { once: true });
        this.#pause.abort();
      });
    }
    signal.throwIfAborted();
    this.closing.throwIfAborted();
    return this.#process;
  }
}

async function stopAfter(timeoutMs: number, child: InferenceProcess, unless: Promise<unknown>): Promise<void> {
  const timer = setTimeout(() => void child.stop(), timeoutMs);
  await unless.finally(() => clearTimeout(timer));
}
