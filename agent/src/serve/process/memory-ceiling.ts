import type { Clock } from '../../host/clock.js';

/** A process that was begun afresh with the same models may still grow by this much before it is taken for too large. */
const ROOM_AFRESH = 1.25;
/** Between two processes that were too large: models that need so much are not cured by beginning again. */
const MIN_LIFE_MS = 10 * 60_000;

export interface MemoryCeilingOptions {
  readonly maxMiB: number;
  readonly clock: Clock;
}

/** Decides when a process has grown too large: native memory that a runtime does not give back comes back with its process. */
export class MemoryCeiling {
  readonly #maxMiB: number;
  readonly #clock: Clock;
  #afreshMiB = 0;
  #notBeforeMs = 0;

  constructor({ maxMiB, clock }: MemoryCeilingOptions) {
    this.#maxMiB = maxMiB;
    this.#clock = clock;
  }

  get miB(): number {
    return Math.max(this.#maxMiB, ROOM_AFRESH * this.#afreshMiB);
  }

  isPassedBy(residentMiB: number): boolean {
    return residentMiB > this.miB && this.#clock.monotonic() >= this.#notBeforeMs;
  }

  /** What another process takes that has loaded the same; undefined where there is none after all. */
  recycled(afreshMiB: number | undefined): void {
    this.#notBeforeMs = this.#clock.monotonic() + MIN_LIFE_MS;
    this.#afreshMiB = afreshMiB ?? this.#afreshMiB;
  }
}
