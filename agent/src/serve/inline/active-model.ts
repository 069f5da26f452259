import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel } from '../../update/ports.js';
import { ActivationCounts, runningModel } from '../activation.js';
import { RunQueue, type Batching, type Growth, type RunRequest } from '../scheduling/run-queue.js';
import type { OpenedSession } from '../session/model-session.js';
import type { TensorMap } from '../tensors/tensor.js';

/** A model as it was loaded, and how it may run. */
export interface PlacedModel extends OpenedSession {
  readonly growth?: Growth | undefined;
  readonly batching?: Batching | undefined;
}

/** Requests that may wait for one model. */
const MAX_WAITING = 256;
/** Runs that a replaced model still has to finish are waited for this long, then cut. */
const DRAIN_TIMEOUT_MS = 10_000;

/** One activation of one model: what it runs in, and how that goes. */
export class ActiveModel {
  readonly installed: InstalledModel;
  readonly running: RunningModel;
  readonly #queue: RunQueue;
  #counts = new ActivationCounts();
  #inFlight = 0;
  /** Set when a newer activation took over: called when the last run ended. */
  #onDrained: (() => void) | undefined;

  constructor(installed: InstalledModel, { session, provider, growth, batching }: PlacedModel) {
    this.installed = installed;
    this.running = runningModel(installed, provider);
    this.#queue = new RunQueue({ session, growth, batching, maxWaiting: MAX_WAITING });
  }

  /** Of this activation; a run counts where it began. */
  get counts(): ActivationCounts {
    return this.#counts;
  }

  /** It serves again after it was kept. */
  beginAnew(): void {
    this.#counts = new ActivationCounts();
  }

  /** @throws what `RunQueue.run` throws */
  async run(request: RunRequest): Promise<TensorMap> {
    this.#inFlight += 1;
    try {
      return await this.#queue.run(request);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#onDrained?.();
    }
  }

  /** After its last run ended, or hung for longer than the time-out. */
  async close(): Promise<void> {
    await this.#drained();
    await this.#queue.close();
  }

  #drained(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      // Real time, not the injected clock: what is waited for is a native call of this process.
      const timer = setTimeout(resolve, DRAIN_TIMEOUT_MS);
      this.#onDrained = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
