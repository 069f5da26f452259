import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel, ServingHealth } from '../update/ports.js';
import { LatencyHistogram } from './latency-histogram.js';

/** What health is judged by: requests and failures since an activation. */
export class ActivationCounts {
  #requests = 0;
  #failures = 0;
  readonly #latencies = new LatencyHistogram();
  crashes = 0;

  add({ failed, latencyUs }: { readonly failed: boolean; readonly latencyUs: number }): void {
    this.#requests += 1;
    if (failed) this.#failures += 1;
    else this.#latencies.add(latencyUs);
  }

  health(): ServingHealth {
    const latencyP99Us = this.#latencies.quantileUs(0.99);
    return {
      requests: this.#requests,
      failures: this.#failures,
      crashes: this.crashes,
      ...(latencyP99Us === undefined ? {} : { latencyP99Us }),
    };
  }
}

/** The record of what is loaded that goes into signed state reports. */
export const runningModel = (model: InstalledModel, provider: RunningModel['provider']): RunningModel => ({
  release: model.release,
  loaded: model.loaded,
  ...(model.adaptation === undefined ? {} : { adaptation: model.adaptation }),
  provider,
});
