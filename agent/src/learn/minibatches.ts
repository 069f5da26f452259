import { seededRandom } from '@drover/shared/statistics';

/** Rows of a run of minibatches, [steps, batchSize] row-major. */
export interface Minibatches {
  readonly indices: BigInt64Array;
  /** 1, or 0 where an index only fills up the last batch of an epoch. */
  readonly weights: Float32Array;
}

/**
 * Which rows each step sees: a permutation per epoch, seeded by the epoch's number, cut into batches. A step's batch depends on its number
 * alone, so that a run can be cut into slices anywhere, or resumed, without changing it.
 */
export class MinibatchSchedule {
  readonly batchSize: number;
  readonly stepsPerEpoch: number;
  readonly #count: number;
  readonly #seed: number;
  #epoch = -1;
  #permutation: readonly number[] = [];

  constructor({
    count,
    batchSize,
    seed,
  }: {
    readonly count: number;
    readonly batchSize: number;
    readonly seed: number;
  }) {
    this.#count = count;
    this.#seed = seed;
    this.batchSize = Math.min(batchSize, count);
    this.stepsPerEpoch = Math.ceil(count / this.batchSize);
  }

  batches(firstStep: number, steps: number): Minibatches {
    const indices = new BigInt64Array(steps * this.batchSize);
    const weights = new Float32Array(steps * this.batchSize);
    for (let offset = 0; offset < steps; offset++) {
      const step = firstStep + offset;
      const permutation = this.#permutationOf(Math.floor(step / this.stepsPerEpoch));
      const start = (step % this.stepsPerEpoch) * this.batchSize;
      permutation.slice(start, start + this.batchSize).forEach((row, position) => {
        indices[offset * this.batchSize + position] = BigInt(row);
        weights[offset * this.batchSize + position] = 1;
      });
    }
    return { indices, weights };
  }

  #permutationOf(epoch: number): readonly number[] {
    if (epoch !== this.#epoch) {
      const rows = Array.from({ length: this.#count }, (_, row) => row);
      this.#permutation = seededRandom(this.#seed).fork(`epoch ${epoch}`).shuffle(rows);
      this.#epoch = epoch;
    }
    return this.#permutation;
  }
}
