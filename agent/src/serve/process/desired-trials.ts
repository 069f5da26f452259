import { toCodedErrorJson, type CodedErrorJson } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { Trial, TrialStanding } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import { died, type InferenceProcess } from './inference-process.js';

interface DesiredTrial {
  readonly trial: Trial;
  crashes: number;
  running: RunningModel | undefined;
  lost: CodedErrorJson | undefined;
}

/** Crashes of the process after which it goes on without what is tried. */
const MAX_CRASHES = 3;

/**
 * The trials that shall go on, whatever happens to the process, until they are ended or given up.
 *
 * INVARIANT: a crash while something is tried is laid to that, and to nothing that serves.
 */
export class DesiredTrials {
  readonly #trials = new Map<ModelName, DesiredTrial>();

  standing(model: ModelName): TrialStanding | undefined {
    return this.#trials.get(model);
  }

  begun(trial: Trial, running: RunningModel): void {
    this.#trials.set(trial.candidate.model, { trial, running, crashes: 0, lost: undefined });
  }

  ended(model: ModelName): void {
    this.#trials.delete(model);
  }

  /** Whoever ordered it sees it by its standing. */
  lost(model: ModelName, why: CodedErrorJson): void {
    const desired = this.#trials.get(model);
    if (desired) giveUp(desired, why);
  }

  /** The process has ended. @returns whether that is laid to what it tried */
  crashed(ending: string): boolean {
    const tried = [...this.#trials.values()].filter(({ lost }) => !lost);
    for (const desired of tried) {
      desired.running = undefined;
      desired.crashes += 1;
      if (desired.crashes >= MAX_CRASHES) giveUp(desired, died(`${ending}, the third time`).toJSON());
    }
    return tried.length > 0;
  }

  /** Another process serves by now: nobody waits for these. */
  restartIn(child: InferenceProcess, isCurrent: () => boolean): void {
    for (const [model, desired] of this.#trials) {
      if (desired.lost) continue;
      desired.running = undefined;
      const isMeant = (): boolean => isCurrent() && this.#trials.get(model) === desired;
      child.startTrial(desired.trial).then(
        (running) => {
          if (isMeant()) desired.running = running;
        },
        (error: unknown) => {
          // A process that ended over it is counted already.
          const isCounted = error instanceof ServeError && error.code === 'INFERENCE_PROCESS_DIED';
          if (isMeant() && !isCounted) giveUp(desired, toCodedErrorJson(error));
        },
      );
    }
  }
}

function giveUp(desired: DesiredTrial, why: CodedErrorJson): void {
  desired.running = undefined;
  desired.lost = why;
}
