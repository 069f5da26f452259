/** Requests that are answered for each one that may have a run of the candidate beside its own: so many that the 99th percentile does not know of them. */
const REQUESTS_PER_MEETING = 1_000;
/** One meeting: nothing is saved up over a quiet night for a busy morning. */
const MOST_SAVED = REQUESTS_PER_MEETING;

/** Places in the shared memory: requests without a meeting (each meeting takes `REQUESTS_PER_MEETING`), whether a run is under way, requests that are. */
const SAVED = 0;
const RUNNING = 1;
const UNDER_WAY = 2;

/**
 * Bounds how many requests meet a run of something that is not urgent. The lowest priority is not enough: threads of one core share its caches and its units, and no run can be interrupted.
 * Lies in shared memory: a run meets the requests of every thread.
 *
 * INVARIANT: among any n requests in a row, no run begins once more than n / REQUESTS_PER_MEETING + 1 of them, and those that one run met, have met one.
 */
export class MeetingBudget {
  readonly shared: SharedArrayBuffer;
  readonly #cells: Int32Array;

  /** @param shared of the budget on another thread; a new one unless given */
  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT);
    this.#cells = new Int32Array(this.shared);
    if (!shared) Atomics.store(this.#cells, SAVED, MOST_SAVED);
  }

  requestBegins(): void {
    Atomics.add(this.#cells, UNDER_WAY, 1);
    const met = Atomics.load(this.#cells, RUNNING) * REQUESTS_PER_MEETING;
    let saved = Atomics.load(this.#cells, SAVED);
    for (;;) {
      const found = Atomics.compareExchange(this.#cells, SAVED, saved, Math.min(MOST_SAVED, saved + 1) - met);
      if (found === saved) return;
      saved = found;
    }
  }

  requestEnds(): void {
    Atomics.sub(this.#cells, UNDER_WAY, 1);
  }

  mayBegin(): boolean {
    return Atomics.load(this.#cells, SAVED) >= 0;
  }

  /** @returns whether a run has begun: not while another one is under way, nor while too many have met one */
  begin(): boolean {
    if (!this.mayBegin() || Atomics.compareExchange(this.#cells, RUNNING, 0, 1) !== 0) return false;
    // A run of another thread may have come and gone between the two.
    if (!this.mayBegin()) {
      this.end();
      return false;
    }
    Atomics.sub(this.#cells, SAVED, Atomics.load(this.#cells, UNDER_WAY) * REQUESTS_PER_MEETING);
    return true;
  }

  end(): void {
    Atomics.store(this.#cells, RUNNING, 0);
  }
}
