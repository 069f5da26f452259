import type { ModelName } from '@drover/shared/ids';
import type { DriftBody } from '@drover/shared/protocol';
import { detectDrift, type DriftDecision } from '@drover/shared/statistics';
import type { Clock } from '../host/clock.js';
import type { ServedBy } from '../serve/recorder.js';
import type { InstalledModel } from '../update/ports.js';
import { readDriftReference, type DriftReference } from './drift-reference.js';
import type { DriftVerdict, SampleWindow, TelemetryStore } from './telemetry-store.js';

export interface DriftWatchOptions {
  readonly store: Pick<TelemetryStore, 'window' | 'lastSampleId' | 'saveVerdict' | 'verdicts'>;
  readonly clock: Pick<Clock, 'now'>;
  /** An alarm went up, or down after three windows without drift. */
  readonly onDrift: (body: DriftBody) => void;
  /** A release whose drift cannot be watched. */
  readonly onIncident: (error: unknown) => void;
}

/** What is watched for one model. */
interface Watched {
  readonly servedBy: ServedBy;
  readonly reference: DriftReference;
  afterId: number;
  /** Who raised the alarm that is up, if one is. */
  alarmOf: ServedBy | undefined;
  /** The last verdict, and how many windows in a row reached it. */
  last: DriftDecision['verdict'] | undefined;
  inARow: number;
}

const CALM_WINDOWS_TO_CLEAR = 3;
/** So that a device that comes back with a full store does not decide for minutes. */
const MAX_WINDOWS_PER_CHECK = 32;

/**
 * Compares windows of what a model was asked with what its release signed as normal. Windows are consecutive, do not overlap, hold samples of one
 * release or adaptation only, and begin anew with each activation.
 *
 * INVARIANT: every verdict is stored, with the samples that it was reached from, before anybody hears of it.
 */
export class DriftWatch {
  readonly #options: DriftWatchOptions;
  readonly #watched = new Map<ModelName, Watched>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DriftWatchOptions) {
    this.#options = options;
  }

  /** To be called after every activation, and for each running model after a start of the agent. */
  activated(model: InstalledModel): Promise<void> {
    return this.#inTurn(async () => {
      const servedBy = toServedBy(model);
      const before = this.#watched.get(model.model);
      this.#watched.delete(model.model);
      const reference = await readDriftReference(model);
      if (!reference) return;
      const { store } = this.#options;
      // After a start of the agent the watch goes on where the last verdict left it; the store is this process's memory.
      const [verdict] = before ? [] : await store.verdicts(model.model, 1);
      const resumes = verdict !== undefined && isSame(verdict.servedBy, servedBy);
      this.#watched.set(model.model, {
        servedBy,
        reference,
        afterId: resumes ? verdict.lastId : await store.lastSampleId(),
        alarmOf: before ? before.alarmOf : verdict?.alarm === true ? verdict.servedBy : undefined,
        last: resumes ? verdict.decision.verdict : undefined,
        inARow: resumes ? verdict.inARow : 0,
      });
    });
  }

  deactivated(model: ModelName): Promise<void> {
    return this.#inTurn(() => Promise.resolve(void this.#watched.delete(model)));
  }

  /** Judges every window that is complete by now. Errors of the store reach the caller. */
  check(): Promise<void> {
    return this.#inTurn(async () => {
      for (const [model, watched] of this.#watched) {
        for (let windows = 0; windows < MAX_WINDOWS_PER_CHECK; windows++) {
          if (!(await this.#checkWindow(model, watched))) break;
        }
      }
    });
  }

  async #checkWindow(model: ModelName, watched: Watched): Promise<boolean> {
    const { servedBy, reference } = watched;
    const { store, onIncident } = this.#options;
    const { profile, thresholds } = reference;
    const { release, adaptation } = servedBy;
    const key = { model, release: release.digest, adaptation, size: thresholds.windowSize, afterId: watched.afterId };
    const window = await store.window(key);
    if (!window) return false;
    let decision: DriftDecision;
    try {
      decision = detectDrift({ reference: profile, thresholds, window });
    } catch (error) {
      // The release's profile does not fit its inputs, and never will.
      this.#watched.delete(model);
      onIncident(error);
      return false;
    }
    await this.#conclude(watched, window, decision);
    return true;
  }

  async #conclude(watched: Watched, window: SampleWindow, decision: DriftDecision): Promise<void> {
    const { servedBy, reference } = watched;
    const { store, clock, onDrift } = this.#options;
    const inARow = decision.verdict === watched.last ? watched.inARow + 1 : 1;
    const isConfirmed = decision.drift && inARow >= reference.thresholds.confirmWindows;
    const isRaised = isConfirmed && !(watched.alarmOf && isSame(watched.alarmOf, servedBy));
    const isCalm = decision.verdict === 'NO_DRIFT' && inARow >= CALM_WINDOWS_TO_CLEAR;
    const isCleared = watched.alarmOf !== undefined && isCalm;
    const alarmOf = isRaised ? servedBy : isCleared ? undefined : watched.alarmOf;
    await store.saveVerdict({
      servedBy,
      afterId: watched.afterId,
      lastId: window.lastId,
      decidedAtMs: clock.now(),
      windowEndAtMs: window.lastAtMs,
      decision,
      alarm: alarmOf !== undefined,
      inARow,
    });
    Object.assign(watched, { afterId: window.lastId, alarmOf, last: decision.verdict, inARow });
    if (isRaised || isCleared)
      onDrift(driftBody(isRaised ? 'raised' : 'cleared', servedBy, reference, window, decision));
  }

  /** One at a time: a check that overlapped an activation could mix two releases. */
  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function driftBody(
  status: DriftBody['status'],
  { model, release }: ServedBy,
  { profile, thresholds }: DriftReference,
  window: SampleWindow,
  { statistic, threshold, worst }: DriftDecision,
): DriftBody {
  return {
    model,
    release,
    status,
    detector: thresholds.detector,
    windowSize: window.count,
    windowEndAt: window.lastAtMs,
    statistic: statistic ?? 0,
    threshold,
    falseAlarmRate: thresholds.falseAlarmRate,
    worst: worst.map(({ feature, ks }) => ({
      feature: profile.features.findIndex(({ name }) => name === feature),
      name: feature,
      statistic: ks,
    })),
  };
}

const toServedBy = ({ model, release, adaptation }: InstalledModel): ServedBy => ({
  model,
  release,
  ...(adaptation === undefined ? {} : { adaptation }),
});

const isSame = (a: DriftVerdict['servedBy'], b: ServedBy): boolean =>
  a.model === b.model && a.release.digest === b.release.digest && a.adaptation === b.adaptation;
