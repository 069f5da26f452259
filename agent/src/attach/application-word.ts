import type { Digest } from '@drover/shared/ids';
import type { AttachedModel } from '../config/index.js';
import type { Clock } from '../host/clock.js';
import { every } from '../supervisor/every.js';
import { AttachError } from './errors.js';
import { checkHealth } from './health-check.js';
import type { Said } from './observe/process-messages.js';
import { Voices } from './voices.js';

export interface ApplicationWordOptions {
  readonly health: AttachedModel['health'];
  readonly clock: Clock;
  /** For the program of the health check. */
  readonly environment: () => Readonly<Record<string, string>>;
  /** It says what it has loaded. */
  readonly onLoaded: () => void;
  /** It went without a farewell, or its health check fails. */
  readonly onCrash: (why: AttachError) => void;
}

/** What an application is waited for to say. */
export interface AwaitedLoad {
  readonly loaded: Digest;
  /** Only what it says after it counts. */
  readonly since: number;
  readonly timeoutMs: () => number;
}

/** How often an application is asked while it is waited for. */
const ASK_AGAIN_MS = 250;
const HEALTH_VOICE = 'health check';
const never = new AbortController().signal;

/** All that an application lets us know of itself: over its connections, and by its health check. */
export class ApplicationWord {
  readonly #options: ApplicationWordOptions;
  readonly #voices = new Voices();
  readonly #waiting = new Set<() => void>();
  readonly #stopLooking: () => Promise<void>;
  #runtime = 'application';
  #refusal: { readonly digest: Digest; readonly reason: string } | undefined;
  #failedChecks = 0;
  /** It is told to load another release: it may come and go, and is asked by who waits for it. */
  #isAwaited = false;

  constructor(options: ApplicationWordOptions) {
    this.#options = options;
    const { health, clock } = options;
    this.#stopLooking = health
      ? every({ intervalMs: health.intervalMs, clock, act: () => this.#look(), onError: () => undefined })
      : () => Promise.resolve();
  }

  /** A mark in time, for `saysLoaded`. */
  get now(): number {
    return this.#voices.now;
  }

  /** What it runs models with, for state reports. */
  get runtime(): string {
    return this.#runtime;
  }

  get isSilent(): boolean {
    return this.#voices.isSilent;
  }

  /** What it says that it has loaded, for an error. */
  describe(): string {
    return this.#voices.describe();
  }

  /** Does every voice of it say so, and has since? Never while its health check fails. */
  saysLoaded(digest: Digest, since: number): boolean {
    return !this.#isUnhealthy() && this.#voices.agree(digest, since);
  }

  hear(said: Said): void {
    const voice = `connection ${said.connection}`;
    switch (said.what) {
      case 'hello':
        this.#runtime = said.runtime ?? this.#runtime;
        return;
      case 'loaded':
        this.#voices.say(voice, said.digest);
        this.#options.onLoaded();
        break;
      case 'refused':
        this.#refusal = said;
        break;
      case 'left':
        if (this.#voices.fallSilent(voice) && !said.farewell && !this.#isAwaited) this.#options.onCrash(lost());
    }
    this.#wake();
  }

  /** The process that it spoke through has ended; what it says to the next one counts. */
  forget(): void {
    this.#voices.forgetAll();
    this.#wake();
  }

  /** While this runs, the application may come and go as it likes. */
  async whileAwaited<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#isAwaited = true;
    this.#refusal = undefined;
    try {
      return await work();
    } finally {
      this.#isAwaited = false;
    }
  }

  /** False when the time is over. @throws the reason why it cannot load it, as an `Error`; the signal's reason */
  async untilLoaded({ loaded, since, timeoutMs }: AwaitedLoad, signal: AbortSignal): Promise<boolean> {
    const { clock, health } = this.#options;
    const begunMs = clock.monotonic();
    for (;;) {
      signal.throwIfAborted();
      if (this.#refusal?.digest === loaded) throw refused(this.#refusal.reason);
      if ((await this.#isHealthy(signal)) && this.#voices.agree(loaded, since)) return true;
      const leftMs = begunMs + timeoutMs() - clock.monotonic();
      if (leftMs <= 0) return false;
      await this.#changed(health ? Math.min(ASK_AGAIN_MS, leftMs) : leftMs, signal);
    }
  }

  close(): Promise<void> {
    return this.#stopLooking();
  }

  #changed(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #isHealthy(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#check(signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof AttachError) return false;
      throw error;
    }
  }

  async #check(signal: AbortSignal): Promise<void> {
    const { health, environment } = this.#options;
    if (!health) return;
    const { loaded } = await checkHealth(health, environment(), signal);
    this.#failedChecks = 0;
    if (loaded === undefined) {
      this.#voices.fallSilent(HEALTH_VOICE);
      return;
    }
    this.#voices.say(HEALTH_VOICE, loaded);
    this.#options.onLoaded();
  }

  /** One turn of the health check. */
  async #look(): Promise<void> {
    if (this.#isAskedAlready()) return;
    try {
      await this.#check(never);
    } catch (error) {
      if (!(error instanceof AttachError)) throw error;
      if (this.#isAskedAlready()) return;
      const { isSilent } = this;
      this.#failedChecks += 1;
      if (this.#failedChecks !== this.#options.health?.failures) return;
      this.#voices.fallSilent(HEALTH_VOICE);
      // One whose last connection was lost has been counted for it.
      if (!isSilent) this.#options.onCrash(error);
    }
  }

  #isAskedAlready(): boolean {
    return this.#isAwaited;
  }

  #isUnhealthy(): boolean {
    return this.#failedChecks >= (this.#options.health?.failures ?? Infinity);
  }
}

const lost = (): AttachError =>
  new AttachError('ATTACH_APPLICATION_LOST', 'The application closed its connection without a farewell.', {
    remedy: 'Read its log. It counts as a crash, unless it says "bye" before it closes its connection.',
  });

const refused = (reason: string): AttachError =>
  new AttachError('ATTACH_LOAD_REFUSED', `The application cannot load the release: ${reason}`, {
    remedy: 'Mend the model for the runtime of the application, and publish a new release.',
  });
