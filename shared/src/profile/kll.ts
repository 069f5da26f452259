import { Type, type Static } from 'typebox';
import { ProfileError } from './errors.js';

/** Rank error 1.33 % at 99 % confidence, about 600 float32 values. */
export const DEFAULT_SKETCH_K = 200;
const MIN_K = 8;
const MAX_K = 4096;
/** A level of fewer than 8 values costs more compactions than it saves space (Apache DataSketches uses the same floor). */
const MIN_LEVEL_WIDTH = 8;
const MAX_LEVELS = 45;
const CAPACITY_DECAY = 2 / 3;
const FLOAT32_BYTES = 4;

/** `levels[h]`: base64 of little-endian float32 values, each of which stands for 2^h observations. */
export const KllDocument = Type.Object(
  {
    k: Type.Integer({ minimum: MIN_K, maximum: MAX_K }),
    coin: Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 }),
    levels: Type.Array(Type.String({ maxLength: 100_000, pattern: '^[A-Za-z0-9+/]*={0,2}$' }), {
      minItems: 1,
      maxItems: MAX_LEVELS,
    }),
  },
  { additionalProperties: false },
);
export type KllDocument = Static<typeof KllDocument>;

/** A right-continuous step function: `cumulative[i]` is the share of observations ≤ `values[i]`; `values` ascend and may repeat. */
export interface StepDistribution {
  readonly values: Float32Array;
  readonly cumulative: Float64Array;
}

/**
 * Mergeable quantile sketch of float32 values: Karnin, Lang, Liberty, "Optimal Quantile Approximation in Streams" (FOCS 2016), with the lazy
 * compaction of Ivkin et al. 2019. Values are exact until the first compaction (3k values or more).
 *
 * Compaction keeps the odd or the even half of a sorted level by a coin. The coins follow from the seed *and the compacted values*: the same
 * data give the same sketch bit for bit, while devices that share a seed do not make the same errors, which would add up when merged.
 */
export class KllSketch {
  readonly k: number;
  #coin: number;
  #levels: number[][] = [[]];
  #count = 0;
  #retained = 0;
  #maxRetained: number;

  /** @throws ProfileError PROFILE_INVALID when k is not an integer from 8 to 4096 */
  constructor({ k = DEFAULT_SKETCH_K, seed = 0 }: { readonly k?: number; readonly seed?: number } = {}) {
    if (!Number.isInteger(k) || k < MIN_K || k > MAX_K)
      throw invalid(`its k must be an integer from ${MIN_K} to ${MAX_K}, not ${k}`);
    this.k = k;
    this.#coin = seed >>> 0;
    this.#maxRetained = this.#capacities();
  }

  /** Observations seen, not values retained. */
  get count(): number {
    return this.#count;
  }

  /** The value is rounded to float32. @throws ProfileError PROFILE_INVALID for NaN and infinities: count those as missing instead */
  add(value: number): void {
    const rounded = Math.fround(value);
    if (!Number.isFinite(rounded)) throw invalid(`a sketch takes finite float32 values, not ${value}`);
    this.#levels[0]?.push(rounded);
    this.#count += 1;
    this.#retained += 1;
    this.#compress();
  }

  /** A new sketch of both; the arguments stay as they are. @throws ProfileError PROFILE_MISMATCH when k differs */
  merge(other: KllSketch): KllSketch {
    if (other.k !== this.k) {
      throw new ProfileError('PROFILE_MISMATCH', `Sketches of k = ${this.k} and k = ${other.k} cannot be merged.`, {
        remedy: 'Build all profiles of a model with the same k.',
      });
    }
    const merged = new KllSketch({ k: this.k, seed: mix(this.#coin ^ other.#coin) });
    const height = Math.max(this.#levels.length, other.#levels.length);
    merged.#fill(
      Array.from({ length: height }, (_, level) => [...(this.#levels[level] ?? []), ...(other.#levels[level] ?? [])]),
    );
    merged.#compress();
    return merged;
  }

  /** Share of the observations ≤ x; 0 while the sketch is empty. */
  cdf(x: number): number {
    if (this.#count === 0) return 0;
    let below = 0;
    this.#levels.forEach((values, level) => {
      for (const value of values) if (value <= x) below += 2 ** level;
    });
    return below / this.#count;
  }

  /** Smallest retained value v with cdf(v) ≥ share (the inverse of the step function, Hyndman & Fan type 1). NaN while the sketch is empty. */
  quantile(share: number): number {
    if (!(share >= 0 && share <= 1)) throw invalid(`a quantile is asked for a share from 0 to 1, not ${share}`);
    const { values, cumulative } = this.distribution();
    const index = cumulative.findIndex((below) => below >= share);
    return values.at(index) ?? Number.NaN;
  }

  /** All retained values with their cumulative shares: what a test of the whole distribution reads. */
  distribution(): StepDistribution {
    const values = new Float32Array(this.#retained);
    const cumulative = new Float64Array(this.#retained);
    let length = 0;
    this.#levels.forEach((level, height) => {
      mergeFromBehind(values, cumulative, length, Float32Array.from(level).sort(), 2 ** height);
      length += level.length;
    });
    let below = 0;
    for (let index = 0; index < cumulative.length; index++) {
      below += cumulative[index] ?? 0;
      cumulative[index] = below / this.#count;
    }
    return { values, cumulative };
  }

  copy(): KllSketch {
    const copied = new KllSketch({ k: this.k, seed: this.#coin });
    copied.#fill(this.#levels.map((values) => [...values]));
    return copied;
  }

  toJson(): KllDocument {
    return { k: this.k, coin: this.#coin, levels: this.#levels.map(encodeFloats) };
  }

  /** `document` has passed its schema. @throws ProfileError PROFILE_INVALID when its contents contradict one another */
  static fromJson(document: KllDocument): KllSketch {
    const sketch = new KllSketch({ k: document.k, seed: document.coin });
    sketch.#fill(document.levels.map(decodeFloats));
    if (sketch.#retained > 0 && sketch.#retained >= sketch.#maxRetained)
      throw invalid('a sketch holds more values than its k allows');
    if (!Number.isSafeInteger(sketch.#count)) throw invalid('a sketch counts more than 2^53 observations');
    return sketch;
  }

  #fill(levels: number[][]): void {
    this.#levels = levels;
    this.#retained = levels.reduce((sum, values) => sum + values.length, 0);
    this.#count = levels.reduce((sum, values, level) => sum + values.length * 2 ** level, 0);
    this.#maxRetained = this.#capacities();
  }

  #capacity(level: number): number {
    const depth = this.#levels.length - 1 - level;
    return Math.max(MIN_LEVEL_WIDTH, Math.ceil(this.k * CAPACITY_DECAY ** depth));
  }

  #capacities(): number {
    return this.#levels.reduce((sum, _, level) => sum + this.#capacity(level), 0);
  }

  /** Invariant afterwards: fewer values than the capacities add up to. Lazy: lower levels may be overfull while there is room in all. */
  #compress(): void {
    while (this.#retained >= this.#maxRetained) {
      const overfull = this.#levels.findIndex((values, level) => values.length >= this.#capacity(level));
      this.#compact(overfull);
    }
  }

  #compact(level: number): void {
    const sorted = Float32Array.from(this.#levels[level] ?? []).sort();
    // An odd value out stays where it is with its weight, so that no observation is lost.
    const paired = sorted.length - (sorted.length % 2);
    this.#levels[level] = [...sorted.subarray(paired)];
    this.#coin = new Uint32Array(sorted.buffer).reduce(
      (hash, bits) => Math.imul(hash ^ bits, 0x9e3779b1) ^ (hash >>> 15),
      this.#coin,
    );
    this.#coin = mix(this.#coin);
    if (level + 1 === this.#levels.length) {
      this.#levels.push([]);
      this.#maxRetained = this.#capacities();
    }
    const above = this.#levels[level + 1];
    for (let index = this.#coin & 1; index < paired; index += 2) above?.push(sorted[index] ?? 0);
    this.#retained -= paired / 2;
  }
}

/** Merges `added`, all of one weight, into the first `length` ascending values and their weights; both arrays have room for it. */
function mergeFromBehind(
  values: Float32Array,
  weights: Float64Array,
  length: number,
  added: Float32Array,
  weight: number,
): void {
  let kept = length - 1;
  let next = added.length - 1;
  for (let to = length + next; next >= 0; to--) {
    const takeKept = kept >= 0 && (values[kept] as number) > (added[next] as number);
    values[to] = takeKept ? (values[kept] as number) : (added[next] as number);
    weights[to] = takeKept ? (weights[kept] as number) : weight;
    if (takeKept) kept--;
    else next--;
  }
}

/** Finalizer of a 32-bit hash (lowbias32, https://nullprogram.com/blog/2018/07/31/). */
function mix(bits: number): number {
  let mixed = Math.imul(bits ^ (bits >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function encodeFloats(values: readonly number[]): string {
  const bytes = Buffer.alloc(values.length * FLOAT32_BYTES);
  values.forEach((value, index) => bytes.writeFloatLE(value, index * FLOAT32_BYTES));
  return bytes.toString('base64');
}

function decodeFloats(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length % FLOAT32_BYTES !== 0 || bytes.toString('base64') !== base64)
    throw invalid('a sketch is not base64 of whole float32 values');
  const values = Array.from({ length: bytes.length / FLOAT32_BYTES }, (_, index) =>
    bytes.readFloatLE(index * FLOAT32_BYTES),
  );
  if (!values.every(Number.isFinite)) throw invalid('a sketch holds values that are not finite');
  return values;
}

function invalid(why: string): ProfileError {
  return new ProfileError('PROFILE_INVALID', `The profile is not valid: ${why}.`, {
    remedy: 'Build the profile again from the data; publish the release again if it is part of one.',
  });
}
