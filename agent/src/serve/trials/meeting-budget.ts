/** Of the requests that are answered, those that may have a run of the candidate beside theirs: few enough that the 99th percentile does not know of them. */
const MEETING_SHARE = 0.005;
/** Nothing is saved up over a quiet night for a busy morning. */
const MOST_SAVED = 1;

/**
 * Bounds how many requests meet a run of something that is not urgent. The lowest priority is not enough: threads of one core share its caches and its units, and no run can be interrupted.
 *
 * INVARIANT: among any n requests in a row, no run begins once more than n · MEETING_SHARE + MOST_SAVED of them, and those that one run met, have met one.
 */
export class MeetingBudget {
  #saved = MOST_SAVED;
  #isRunning = false;

  /** A request begins. */
  request(): void {
    this.#saved = Math.min(MOST_SAVED, this.#saved + MEETING_SHARE);
    if (this.#isRunning) this.#saved -= 1;
  }

  get mayBegin(): boolean {
    return this.#saved >= 0;
  }

  /** @param underWay requests that it meets at once */
  begin(underWay: number): void {
    this.#isRunning = true;
    this.#saved -= underWay;
  }

  end(): void {
    this.#isRunning = false;
  }
}
