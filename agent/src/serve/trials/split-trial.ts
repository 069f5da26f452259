import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel, Trial, TrialStanding } from '../../update/ports.js';
import type { ActiveModel } from '../inline/active-model.js';
import { servedBy } from '../inline/observation.js';
import type { Comparison, Recorder } from '../recorder.js';
import type { Compare } from './running-trial.js';
import { isInShare } from './share.js';

export interface SplitTrialOptions {
  readonly candidate: ActiveModel;
  readonly recorder: Pick<Recorder, 'compare'>;
  /** Closes the candidate after its last run. */
  readonly retire: () => Promise<void>;
}

/** A candidate that answers a share of the requests in place of the release that serves. */
export class SplitTrial {
  readonly mode = 'split';
  readonly trial: Trial;
  readonly candidate: ActiveModel;
  lost: CodedErrorJson | undefined;
  readonly #options: SplitTrialOptions;

  constructor(trial: Trial, options: SplitTrialOptions) {
    this.trial = trial;
    this.candidate = options.candidate;
    this.#options = options;
  }

  get running(): RunningModel {
    return { ...this.candidate.running, trial: this.trial.terms };
  }

  get standing(): TrialStanding {
    return this.lost ? { running: undefined, lost: this.lost } : { running: this.running };
  }

  /** The same for all requests of one key. Which keys the candidate gets differs from release to release. */
  takes(key: string): boolean {
    const { candidate, terms } = this.trial;
    return isInShare(key, candidate.release.digest, terms.share);
  }

  /** Of a request that the release that serves answers. */
  compareWith(active: InstalledModel): Compare {
    return (_outputs, latencyUs) => this.note(active, { outcome: 'left', activeLatencyUs: latencyUs });
  }

  note(active: InstalledModel, what: Pick<Comparison, 'outcome' | 'activeLatencyUs' | 'candidateLatencyUs'>): void {
    const candidate = this.trial.candidate.release;
    this.#options.recorder.compare({ active: servedBy(active), candidate, mode: 'split', ...what });
  }

  close(): Promise<void> {
    return this.#options.retire();
  }
}
