import { CodedError } from '@drover/shared/coded-error';
import type { DeviceId, Digest, ModelName } from '@drover/shared/ids';
import type { AdaptationBody } from '@drover/shared/protocol';
import type { AgentConfig } from '../config/index.js';
import { raceAbort, type Clock } from '../host/index.js';
import type { LabelledSource, TunedModel, TuningOutcome } from '../learn/tuner.js';
import type { InstalledModel, Serving } from '../update/index.js';
import { AgentError } from './errors.js';
import type { Log } from './log.js';
import { openTuningWishes, type TuningWish, type TuningWishes } from './tuning-wishes.js';

export interface TuningQueueOptions {
  readonly config: Pick<AgentConfig, 'dataDir' | 'learn' | 'telemetry'>;
  readonly deviceId: DeviceId;
  readonly serving: Pick<Serving, 'selfTest'>;
  readonly telemetry: LabelledSource;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly log: Pick<Log, 'info'>;
  readonly active: (model: ModelName) => InstalledModel | undefined;
  /** No update of the model is in progress: its outcome decides what there is to tune. */
  readonly isSettled: (model: ModelName) => boolean;
  readonly activate: (adaptation: TunedModel) => Promise<void>;
  /** These two must not throw. */
  readonly report: (body: AdaptationBody) => void;
  readonly onProblem: (error: unknown) => void;
}

const MAX_ATTEMPTS = 3;
const RETRY_PAUSE_MS = 30_000;
/** The store drops its oldest samples some way below its bound; a wish beyond that would never come true. */
const REACHABLE_SHARE = 0.9;

/**
 * Which models shall be fine-tuned: those whose drift was raised, on samples from the alarm on. One job at a time; one outcome per alarm and
 * base, because the same data would give the same result, except that an inconclusive attempt is repeated on twice the samples. A new alarm, or
 * another release, makes a new attempt possible. What is wanted, and what came to an end, survives restarts.
 */
export class TuningQueue {
  readonly #options: TuningQueueOptions;
  readonly #wishes: TuningWishes;
  readonly #notBeforeMs = new Map<ModelName, number>();
  readonly #closing = new AbortController();

  constructor(options: TuningQueueOptions) {
    this.#options = options;
    this.#wishes = openTuningWishes(options.config.dataDir, options.onProblem);
  }

  /** An adaptation is not tuned again: the inputs that it was made for stay different from the release's profile, and would alarm for ever. */
  want(model: ModelName, sinceMs: number): void {
    const base = this.#options.active(model);
    if (!base || base.adaptation !== undefined) return;
    this.#wishes.put({ model, base: base.loaded, sinceMs, atLeast: 0, attempts: 0, done: false });
    this.#notBeforeMs.delete(model);
  }

  /** After a start, for an alarm that is still up: wanted as before, unless it is known what came of it. */
  recall(model: ModelName, release: Digest, sinceMs: number): void {
    const base = this.#options.active(model);
    if (base?.release.digest !== release || this.#wishes.of(model)?.base === base.loaded) return;
    this.want(model, sinceMs);
  }

  forget(model: ModelName): void {
    this.#wishes.remove(model);
  }

  /** Tunes what is wanted and has labelled samples enough. */
  async check(): Promise<void> {
    const { active, isSettled, clock } = this.#options;
    for (const wish of this.#wishes.all()) {
      if (this.#closing.signal.aborted) return;
      if (wish.done || clock.monotonic() < (this.#notBeforeMs.get(wish.model) ?? 0)) continue;
      const base = active(wish.model);
      // Another release may be in probation, and fall back to this one.
      if (base?.loaded === wish.base && isSettled(wish.model)) await this.#tune(base, wish);
    }
  }

  /** Stops training under way; `check` then ends soon, and what was wanted still is after the next start. */
  close(): void {
    this.#closing.abort();
  }

  async #tune(base: InstalledModel, wish: TuningWish): Promise<void> {
    const { config, deviceId, serving, telemetry, clock, log, activate } = this.#options;
    // Loaded when it is needed: the supervisor of a device that never drifts does not pay for it.
    const { mayTune, MAX_TUNING_SAMPLES, Tuner } = await import('../learn/tuner.js');
    if (!mayTune(base.manifest, config.learn.adaptation)) {
      this.#finish(wish);
      return;
    }
    if (wish.attempts >= MAX_ATTEMPTS) {
      this.#giveUp(wish);
      return;
    }
    const { signal } = this.#closing;
    const attempt = { hasBegun: false };
    const tuner = new Tuner({
      dataDir: config.dataDir,
      deviceId,
      policy: config.learn.adaptation,
      memoryMiB: config.learn.memoryMiB,
      clock,
      source: telemetry,
      serving,
      // The updater may take long to load it; whoever stops the agent does not wait here for that.
      activate: (adaptation) => raceAbort(activate(adaptation), signal),
      onStart: () => {
        attempt.hasBegun = true;
        this.#amend(wish, { attempts: wish.attempts + 1 });
      },
      onProgress: (tuned, progress) => log.info('training', { model: tuned, ...progress }),
    });
    try {
      const outcome = await tuner.tune(base, wish.sinceMs, wish.atLeast, signal);
      if (!outcome) return;
      log.info('adaptation', outcome.body);
      this.#options.report(outcome.body);
      this.#conclude(wish, outcome, Math.min(MAX_TUNING_SAMPLES, this.#reachableSamples()));
    } catch (error) {
      // The samples could not be read: no attempt was made.
      if (!attempt.hasBegun) throw error;
      // Stopped by us: no attempt that counts.
      if (signal.aborted) this.#amend(wish, { attempts: wish.attempts });
      else this.#fail(wish, error);
    }
  }

  #reachableSamples(): number {
    return Math.floor(REACHABLE_SHARE * this.#options.config.telemetry.maxSamples);
  }

  #conclude(wish: TuningWish, { body, activationProblem }: TuningOutcome, maxSamples: number): void {
    const usedSamples = body.trainedOn.labelled + body.holdout.count;
    if (activationProblem !== undefined) this.#fail(wish, activationProblem);
    else if (body.verdict !== 'INCONCLUSIVE' || usedSamples >= maxSamples) this.#finish(wish);
    else this.#amend(wish, { attempts: 0, atLeast: Math.min(2 * usedSamples, maxSamples) });
  }

  #fail(wish: TuningWish, error: unknown): void {
    const { onProblem, clock } = this.#options;
    onProblem(error);
    if (error instanceof CodedError && error.retryable)
      this.#notBeforeMs.set(wish.model, clock.monotonic() + RETRY_PAUSE_MS * (wish.attempts + 1));
    else this.#finish(wish);
  }

  #giveUp(wish: TuningWish): void {
    this.#finish(wish);
    this.#options.onProblem(
      new AgentError(
        'TUNING_GIVEN_UP',
        `Fine-tuning ${wish.model} was begun ${wish.attempts} times and came to no end.`,
        {
          where: wish.base,
          remedy:
            'Read the incidents before this one. Allow the trainer more memory (learn.memoryMiB) or publish smaller batches; the next alarm tries again.',
        },
      ),
    );
  }

  #finish(wish: TuningWish): void {
    this.#amend(wish, { done: true });
  }

  /** Not when meanwhile the alarm was cleared or another was raised. */
  #amend(wish: TuningWish, change: Partial<TuningWish>): void {
    const now = this.#wishes.of(wish.model);
    if (now?.base === wish.base && now.sinceMs === wish.sinceMs) this.#wishes.put({ ...now, ...change });
  }
}
