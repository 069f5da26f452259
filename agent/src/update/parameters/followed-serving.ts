import type { ModelName } from '@drover/shared/ids';
import type { Serving } from '../ports.js';

/** Serving, with somebody who hears of every release that took over or ended, whoever caused it, before the caller does. */
export const followedBy = (serving: Serving, changed: (model: ModelName) => Promise<void>): Serving => ({
  selfTest: (candidate, signal) => serving.selfTest(candidate, signal),
  async activate(candidate, signal, replaced) {
    const running = await serving.activate(candidate, signal, replaced);
    await changed(candidate.model);
    return running;
  },
  dropKept: (model) => serving.dropKept(model),
  async deactivate(model) {
    await serving.deactivate(model);
    await changed(model);
  },
  running: (model) => serving.running(model),
  health: (model) => serving.health(model),
});
