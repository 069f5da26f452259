import type { ModelName } from '@drover/shared/ids';
import { MonitorError, type DriftWatch } from '../monitor/index.js';
import type { InstalledModel, Serving } from '../update/index.js';

export interface WatchedServing extends Serving {
  /** Begins the watch of models for which that failed before and may succeed now. @throws what the watch throws */
  watchRest(): Promise<void>;
}

/**
 * Drift is watched from each activation on, whoever caused it: an update, a fall back, an adaptation, a start of the agent.
 *
 * INVARIANT: a watch that cannot begin never fails an activation. It is reported, and tried again unless the release itself is the reason.
 */
export function watchServing(
  serving: Serving,
  watch: Pick<DriftWatch, 'activated' | 'deactivated'>,
  onProblem: (error: unknown) => void,
): WatchedServing {
  const unwatched = new Map<ModelName, InstalledModel>();
  return {
    selfTest: (candidate, signal) => serving.selfTest(candidate, signal),
    async activate(candidate, signal, replaced) {
      const running = await serving.activate(candidate, signal, replaced);
      unwatched.delete(candidate.model);
      await watch.activated(candidate).catch((error: unknown) => {
        if (!isOfRelease(error)) unwatched.set(candidate.model, candidate);
        onProblem(error);
      });
      return running;
    },
    dropKept: (model) => serving.dropKept(model),
    async deactivate(model) {
      await serving.deactivate(model);
      unwatched.delete(model);
      await watch.deactivated(model);
    },
    running: (model) => serving.running(model),
    health: (model) => serving.health(model),
    async watchRest() {
      for (const [model, candidate] of unwatched) {
        await watch.activated(candidate);
        if (unwatched.get(model) === candidate) unwatched.delete(model);
      }
    },
  };
}

const isOfRelease = (error: unknown): boolean =>
  error instanceof MonitorError && error.code === 'DRIFT_REFERENCE_UNUSABLE';
