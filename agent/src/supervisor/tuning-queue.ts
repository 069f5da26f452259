import type { DeviceId, ModelName } from '@drover/shared/ids';
import type { AdaptationBody } from '@drover/shared/protocol';
import type { AgentConfig } from '../config/index.js';
import type { Clock } from '../host/index.js';
import type { LabelledSource } from '../learn/tuner.js';
import type { InstalledModel, Serving } from '../update/index.js';
import type { Log } from './log.js';

export interface TuningQueueOptions {
  readonly config: AgentConfig;
  readonly deviceId: DeviceId;
  readonly serving: Serving;
  readonly telemetry: LabelledSource;
  readonly clock: Clock;
  readonly log: Log;
  readonly active: (model: ModelName) => InstalledModel | undefined;
  readonly activate: (adaptation: {
    model: ModelName;
    modelFile: string;
    digest: InstalledModel['loaded'];
  }) => Promise<void>;
  readonly report: (body: AdaptationBody) => void;
  readonly onProblem: (error: unknown) => void;
}

interface Wanted {
  readonly base: InstalledModel['loaded'];
  readonly sinceMs: number;
  /** After an inconclusive attempt: twice the samples of that one. */
  readonly atLeast: number;
}

/**
 * Which models shall be fine-tuned: those whose drift was raised, on samples from the alarm on. One job at a time; one attempt per alarm and
 * base, because the same data would give the same result, except that an inconclusive attempt is repeated on twice the samples. A new alarm, or
 * another release, makes a new attempt possible.
 */
export class TuningQueue {
  readonly #options: TuningQueueOptions;
  readonly #wanted = new Map<ModelName, Wanted>();
  readonly #closing = new AbortController();

  constructor(options: TuningQueueOptions) {
    this.#options = options;
  }

  /** An adaptation is not tuned again: the inputs that it was made for stay different from the release's profile, and would alarm for ever. */
  want(model: ModelName, sinceMs: number): void {
    const base = this.#options.active(model);
    if (base?.adaptation === undefined && base) this.#wanted.set(model, { base: base.loaded, sinceMs, atLeast: 0 });
  }

  forget(model: ModelName): void {
    this.#wanted.delete(model);
  }

  /** Tunes what is wanted and has labelled samples enough. */
  async check(): Promise<void> {
    for (const [model, wanted] of this.#wanted) {
      if (this.#closing.signal.aborted) return;
      const active = this.#options.active(model);
      if (active?.loaded !== wanted.base) {
        this.#wanted.delete(model);
        continue;
      }
      await this.#tune(model, active, wanted);
    }
  }

  async #tune(model: ModelName, base: InstalledModel, wanted: Wanted): Promise<void> {
    const { config, deviceId, serving, telemetry, clock, log } = this.#options;
    // Loaded when it is needed: the supervisor of a device that never drifts does not pay for it.
    const { mayTune, Tuner } = await import('../learn/tuner.js');
    if (!mayTune(base.manifest, config.learn.adaptation)) {
      this.#wanted.delete(model);
      return;
    }
    const tuner = new Tuner({
      dataDir: config.dataDir,
      deviceId,
      policy: config.learn.adaptation,
      memoryMiB: config.learn.memoryMiB,
      clock,
      source: telemetry,
      serving,
      activate: this.#options.activate,
      onProgress: (tuned, progress) => log.info('training', { model: tuned, ...progress }),
    });
    try {
      const outcome = await tuner.tune(base, wanted.sinceMs, wanted.atLeast, this.#closing.signal);
      if (!outcome) return;
      const { labelled } = outcome.body.trainedOn;
      if (outcome.body.verdict === 'INCONCLUSIVE')
        this.#wanted.set(model, { ...wanted, atLeast: 2 * (labelled + outcome.body.holdout.count) });
      else this.#wanted.delete(model);
      log.info('adaptation', outcome.body);
      this.#options.report(outcome.body);
    } catch (error) {
      this.#wanted.delete(model);
      if (!this.#closing.signal.aborted) this.#options.onProblem(error);
    }
  }

  close(): void {
    this.#closing.abort();
  }
}
