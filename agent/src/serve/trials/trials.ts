import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { Trial, TrialStanding } from '../../update/ports.js';
import { unfitForTrial } from '../../update/trials/fits.js';
import type { ServeError } from '../errors.js';
import type { ActiveModel } from '../inline/active-model.js';
import type { RunningTrial } from './running-trial.js';

export interface TrialsOptions {
  /** Loads the candidate. `lost` is called when its session ended by itself. */
  readonly begin: (trial: Trial, signal: AbortSignal, lost: (error: ServeError) => void) => Promise<RunningTrial>;
  readonly serving: (model: ModelName) => ActiveModel | undefined;
  readonly onLost: (model: ModelName, error: ServeError) => void;
}

/**
 * The releases that are tried, at most one of a model.
 *
 * INVARIANT: what serves knows of a trial exactly while that runs, was not lost, and fits it; so a request of a model without one asks nobody.
 */
export class Trials {
  readonly #options: TrialsOptions;
  readonly #trials = new Map<ModelName, RunningTrial>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: TrialsOptions) {
    this.#options = options;
  }

  /** Replaces an earlier trial of the model. @throws what loading throws */
  start(trial: Trial, signal: AbortSignal): Promise<RunningModel> {
    return this.#inTurn(async () => {
      signal.throwIfAborted();
      const { model } = trial.candidate;
      const begun: { trial?: RunningTrial } = {};
      begun.trial = await this.#options.begin(trial, signal, (error) => this.#lose(begun.trial, error));
      await this.#end(model);
      this.#trials.set(model, begun.trial);
      this.#attachToServing(model);
      return begun.trial.running;
    });
  }

  end(model: ModelName): Promise<void> {
    return this.#inTurn(() => this.#end(model));
  }

  standing(model: ModelName): TrialStanding | undefined {
    return this.#trials.get(model)?.standing;
  }

  /** A release took over. It may be one that the candidate does not fit: then that is left out until another serves. */
  attachTo(active: ActiveModel): void {
    const trial = this.#trials.get(active.installed.model);
    const isFit = trial && !trial.lost && unfitForTrial(trial.trial.candidate, active.installed) === undefined;
    active.trial = isFit ? trial : undefined;
  }

  async close(): Promise<void> {
    for (const model of [...this.#trials.keys()]) await this.end(model);
  }

  async #end(model: ModelName): Promise<void> {
    const ended = this.#trials.get(model);
    if (!ended) return;
    this.#trials.delete(model);
    this.#attachToServing(model);
    await ended.close();
  }

  /** One that is lost before it began fails to load, or fails every run. */
  #lose(trial: RunningTrial | undefined, error: ServeError): void {
    const model = trial?.trial.candidate.model;
    if (!trial || model === undefined || this.#trials.get(model) !== trial) return;
    trial.lost = error.toJSON();
    this.#attachToServing(model);
    this.#options.onLost(model, error);
  }

  #attachToServing(model: ModelName): void {
    const active = this.#options.serving(model);
    if (active) this.attachTo(active);
  }

  /** One at a time: a trial that is ended while it begins would begin all the same. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
