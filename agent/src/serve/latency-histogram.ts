/** Eight buckets per doubling: a quantile is at most 2^(1/8) − 1 = 9 % above the true value. 256 buckets reach 2^32 µs, over an hour. */
const BUCKETS_PER_OCTAVE = 8;
const BUCKETS = 256;

const bucketOf = (latencyUs: number): number =>
  latencyUs < 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(latencyUs) * BUCKETS_PER_OCTAVE));

/** Counts of latencies in logarithmic buckets: constant memory, mergeable, and quantiles with a bounded relative error. */
export class LatencyHistogram {
  readonly #counts: Float64Array;
  #maxUs: number;

  constructor(counts: ArrayLike<number> = [], maxUs = 0) {
    this.#counts = new Float64Array(BUCKETS);
    for (let index = 0; index < Math.min(BUCKETS, counts.length); index++) this.#counts[index] = counts[index] ?? 0;
    this.#maxUs = maxUs;
  }

  add(latencyUs: number): void {
    const bucket = bucketOf(latencyUs);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#maxUs = Math.max(this.#maxUs, latencyUs);
  }

  get maxUs(): number {
    return Math.round(this.#maxUs);
  }

  /** Upper bound of the bucket that holds the quantile (nearest rank), never above the maximum; undefined without data. */
  quantileUs(quantile: number): number | undefined {
    const total = this.#counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return undefined;
    const rank = Math.max(1, Math.ceil(quantile * total));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= rank) return Math.min(Math.ceil(2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)), this.maxUs);
    }
    return this.maxUs;
  }

  /** Counts without the empty tail. */
  toJSON(): { counts: number[]; maxUs: number } {
    const last = this.#counts.findLastIndex((count) => count > 0);
    return { counts: [...this.#counts.subarray(0, last + 1)], maxUs: this.#maxUs };
  }
}
