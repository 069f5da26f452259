import type { ServingCounts } from '@drover/shared/protocol';
import { LatencyHistogram } from '../serve/latency-histogram.js';
import type { InferenceRecord } from '../serve/recorder.js';

/** A row of the table `counts`, without its key. */
export interface CountsRow {
  requests: number;
  failures: number;
  inferences: number;
  labelled: number;
  correct: number;
  conflicting: number;
  targeted: number;
  targeted_correct: number;
  confidence_count: number;
  confidence_sum: number;
  /** Of values with a known truth: how many there are, and sums of what they were too large by, of its magnitude, and of its square. */
  error_count: number;
  error_sum: number;
  error_absolute: number;
  error_squared: number;
  /** JSON of a LatencyHistogram. */
  latencies: string;
  /** JSON object: class index to count. */
  predictions: string;
}

/** What one reporting window has counted so far for one release or adaptation. */
export class WindowCounts {
  readonly #row: CountsRow;
  readonly #latencies: LatencyHistogram;
  readonly #predictions: Record<string, number>;

  constructor(row?: CountsRow) {
    this.#row = row ?? {
      requests: 0,
      failures: 0,
      inferences: 0,
      labelled: 0,
      correct: 0,
      conflicting: 0,
      targeted: 0,
      targeted_correct: 0,
      confidence_count: 0,
      confidence_sum: 0,
      error_count: 0,
      error_sum: 0,
      error_absolute: 0,
      error_squared: 0,
      latencies: '{}',
      predictions: '{}',
    };
    const { counts, maxUs } = JSON.parse(this.#row.latencies) as { counts?: number[]; maxUs?: number };
    this.#latencies = new LatencyHistogram(counts, maxUs);
    this.#predictions = JSON.parse(this.#row.predictions) as Record<string, number>;
  }

  addRecord({ failed, inferences, latencyUs, predictions }: InferenceRecord): void {
    this.#row.requests += 1;
    if (failed) {
      this.#row.failures += 1;
      return;
    }
    this.#row.inferences += inferences;
    this.#latencies.add(latencyUs);
    predictions?.classes.forEach((index, row) => {
      this.#predictions[index] = (this.#predictions[index] ?? 0) + 1;
      const confidence = predictions.confidences[row] ?? NaN;
      // A model may answer with what is no number; SQLite has no place for it.
      if (!Number.isFinite(confidence)) return;
      this.#row.confidence_count += 1;
      this.#row.confidence_sum += confidence;
    });
  }

  addLabel(isCorrect: boolean): void {
    this.#row.labelled += 1;
    if (isCorrect) this.#row.correct += 1;
  }

  /** @param error by how much a value was too large */
  addError(error: number): void {
    // What cannot be squared is no error that a mean could bear.
    if (!Number.isFinite(this.#row.error_squared + error ** 2)) return;
    this.#row.error_count += 1;
    this.#row.error_sum += error;
    this.#row.error_absolute += Math.abs(error);
    this.#row.error_squared += error ** 2;
  }

  addTargeted(isCorrect: boolean): void {
    this.#row.targeted += 1;
    if (isCorrect) this.#row.targeted_correct += 1;
  }

  addConflict(): void {
    this.#row.conflicting += 1;
  }

  toRow(): CountsRow {
    return { ...this.#row, latencies: JSON.stringify(this.#latencies), predictions: JSON.stringify(this.#predictions) };
  }

  toReport(): Omit<ServingCounts, 'model' | 'release' | 'adaptation'> {
    const {
      requests,
      failures,
      inferences,
      labelled,
      correct,
      conflicting,
      targeted,
      targeted_correct: targetedCorrect,
      confidence_count: count,
      confidence_sum: sum,
      error_count: errors,
      error_sum: errorSum,
      error_absolute: errorAbsolute,
      error_squared: errorSquared,
    } = this.#row;
    const [p50, p99] = [this.#latencies.quantileUs(0.5), this.#latencies.quantileUs(0.99)];
    return {
      requests,
      failures,
      inferences,
      labelled: { count: labelled, correct, ...(conflicting === 0 ? {} : { conflicting }) },
      ...(targeted === 0 ? {} : { targeted: { count: targeted, correct: targetedCorrect } }),
      ...(errors === 0
        ? {}
        : {
            errors: {
              count: errors,
              mean: errorSum / errors,
              meanAbsolute: errorAbsolute / errors,
              meanSquare: errorSquared / errors,
            },
          }),
      ...(p50 === undefined || p99 === undefined ? {} : { latencyUs: { p50, p99, max: this.#latencies.maxUs } }),
      ...(count === 0 ? {} : { confidence: { count, mean: sum / count }, predictions: this.#predictions }),
    };
  }
}
