/** A token bucket that holds one second's worth, and room for one. */
export class RateLimit {
  #perSecond: number;
  readonly #nowMs: () => number;
  #tokens: number;
  #filledAtMs: number;

  constructor(perSecond: number, nowMs: () => number) {
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
    this.#tokens = this.#room;
    this.#filledAtMs = nowMs();
  }

  /** From now on. */
  set perSecond(perSecond: number) {
    this.#fill();
    this.#perSecond = perSecond;
  }

  get hasRoom(): boolean {
    this.#fill();
    return this.#tokens >= 1;
  }

  /** False where there is no room for so much more. */
  take(amount = 1): boolean {
    this.#fill();
    if (this.#tokens < amount) return false;
    this.#tokens -= amount;
    return true;
  }

  get #room(): number {
    return Math.max(1, this.#perSecond);
  }

  #fill(): void {
    const nowMs = this.#nowMs();
    this.#tokens = Math.min(this.#room, this.#tokens + ((nowMs - this.#filledAtMs) * this.#perSecond) / 1_000);
    this.#filledAtMs = nowMs;
  }
}

/** What one of them has of a limit that several share. */
export interface Share {
  take(amount?: number): boolean;
  /** The others get more. */
  leave(): void;
}

/**
 * A limit for several together. Half of it is for whoever comes first; of the other half each has the same share, so that one that sends without end leaves
 * something for the others, and one that is alone has all of it.
 */
export class SharedLimit {
  readonly #common: RateLimit;
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  readonly #shares = new Set<RateLimit>();

  constructor(perSecond: number, nowMs: () => number) {
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
    this.#common = new RateLimit(perSecond / 2, nowMs);
  }

  join(): Share {
    // Empty at first: who connects again and again gets no more by it.
    const own = new RateLimit(0, this.#nowMs);
    own.take();
    this.#shares.add(own);
    this.#shareOut();
    return {
      take: (amount) => own.take(amount) || this.#common.take(amount),
      leave: () => {
        this.#shares.delete(own);
        this.#shareOut();
      },
    };
  }

  #shareOut(): void {
    for (const share of this.#shares) share.perSecond = this.#perSecond / 2 / this.#shares.size;
  }
}
