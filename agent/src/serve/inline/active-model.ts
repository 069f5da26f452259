import { InputChecker } from '@drover/shared/input-contract';
import type { RunningModel } from '@drover/shared/protocol';
import type { Clock } from '../../host/clock.js';
import type { InstalledModel } from '../../update/ports.js';
import { ActivationCounts, runningModel } from '../activation.js';
import { RunQueue, type Batching, type Growth } from '../scheduling/run-queue.js';
import { Sequences, type SequenceRequest } from '../sequences/sequences.js';
import type { OpenedSession } from '../session/model-session.js';
import type { TensorMap } from '../tensors/tensor.js';
import type { RunningTrial } from '../trials/running-trial.js';
import type { SharedShadow } from '../trials/shadow-trial.js';

/** A model as it was loaded, and how it may run. */
export interface PlacedModel extends OpenedSession {
  readonly growth?: Growth | undefined;
  readonly batching?: Batching | undefined;
  /** It runs on the thread of the protocol. */
  readonly isInline?: boolean;
}

/** A model that other threads may run, and what they then try beside it. */
export interface Grantable {
  readonly installed: InstalledModel;
  readonly shadow: SharedShadow | undefined;
}

/** Requests that may wait for one model. */
const MAX_WAITING = 256;
/** The runtime puts a run on this thread off to the end of the turn, and does them one after the other: a place in the queue would cost more than it is worth. */
const INLINE_RUNS_AT_ONCE = 16;
/** Runs that a replaced model still has to finish are waited for this long, then cut. */
const DRAIN_TIMEOUT_MS = 10_000;

/** One activation of one model: what it runs in, and how that goes. */
export class ActiveModel {
  readonly installed: InstalledModel;
  readonly running: RunningModel;
  readonly isInline: boolean;
  /** What is tried beside it. */
  trial: RunningTrial | undefined;
  /** Of a release with a contract for its inputs. */
  readonly inputChecker: InputChecker | undefined;
  readonly #queue: RunQueue;
  readonly #clock: Clock;
  /** Of a recurrent model. */
  #sequences: Sequences | undefined;
  #counts = new ActivationCounts();
  #inFlight = 0;
  /** Set when a newer activation took over: called when the last run ended. */
  #onDrained: (() => void) | undefined;

  constructor(installed: InstalledModel, placed: PlacedModel, clock: Clock) {
    const { session, provider, growth, batching, isInline = false } = placed;
    this.installed = installed;
    this.isInline = isInline;
    this.#clock = clock;
    this.running = runningModel(installed, provider);
    const { inputs } = installed.manifest.contract;
    this.inputChecker = inputs && new InputChecker(inputs, installed.variant.signature.inputs);
    // Rows that wait for each other could be run together.
    const atOnce = isInline && !batching ? INLINE_RUNS_AT_ONCE : 1;
    this.#queue = new RunQueue({ session, atOnce, growth, batching, maxWaiting: MAX_WAITING });
  }

  /** Of this activation; a run counts where it began. */
  get counts(): ActivationCounts {
    return this.#counts;
  }

  /** Where other threads may run it just as well: it runs in this one, has no state, and nothing else answers a share of its requests. */
  get grantable(): Grantable | undefined {
    const { installed, isInline, trial } = this;
    if (!isInline || trial?.mode === 'split' || installed.variant.sequences) return undefined;
    return { installed, shadow: trial?.shared };
  }

  /** From now on it serves: for the first time, or again after it was kept. */
  begin({ isSuccessor }: { readonly isSuccessor: boolean }): void {
    this.#counts = new ActivationCounts();
    const { model, variant } = this.installed;
    if (!variant.sequences) return;
    this.#sequences = new Sequences({
      model,
      definition: variant.sequences,
      clock: this.#clock,
      isSuccessor,
      run: (request) => this.#queue.run(request),
    });
  }

  /** Another serves in its place. What it has begun it ends; the state of sequences means nothing to the other, nor will it to this one when it comes back. */
  giveWay(): void {
    this.#sequences?.close();
  }

  /** @throws what `RunQueue.run` and `Sequences.run` throw */
  async run(request: SequenceRequest): Promise<TensorMap> {
    this.#inFlight += 1;
    try {
      return await (this.#sequences ?? this.#queue).run(request);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#onDrained?.();
    }
  }

  /** After its last run ended, or hung for longer than the time-out. */
  async close(): Promise<void> {
    this.giveWay();
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
