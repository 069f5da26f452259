import { isWithin, type Tolerance } from '../tensors/index.js';

/** Counts what differs by more than the tolerance. */
export class Differences {
  readonly #tolerance: Tolerance;
  beyond = 0;
  largest = 0;

  constructor(tolerance: Tolerance) {
    this.#tolerance = tolerance;
  }

  /** @returns whether they are within the tolerance */
  add(actual: number, expected: number): boolean {
    const difference = actual === expected ? 0 : Math.abs(actual - expected);
    // NaN would be lost in a maximum: what is no number is infinitely far from one.
    this.largest = Math.max(this.largest, Number.isNaN(difference) ? Infinity : difference);
    const isClose = isWithin(actual, expected, this.#tolerance);
    if (!isClose) this.beyond += 1;
    return isClose;
  }

  /** Something has nothing to be held against. */
  addMissing(count: number): void {
    if (count <= 0) return;
    this.beyond += count;
    this.largest = Infinity;
  }
}
