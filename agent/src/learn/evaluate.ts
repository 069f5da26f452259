import { setImmediate as nextTurn } from 'node:timers/promises';
import { Tensor } from '../onnxruntime/index.js';
import { decodeOnnx, describeModel } from '@drover/shared/onnx';
import { LearnError } from './errors.js';
import { checkExamples, type Examples } from './examples.js';
import { findScoreOutput, type ScoreOutput } from './gradient/index.js';
import { openSession, runSession } from './runtime.js';

export interface Evaluation {
  readonly count: number;
  /** Examples whose highest score is their label's. */
  readonly correct: number;
  /** NaN without examples. */
  readonly accuracy: number;
  /** Mean cross-entropy in nats; NaN without examples. */
  readonly loss: number;
  /** confusion[label][predicted] */
  readonly confusion: readonly (readonly number[])[];
  /** 1 where an example was classified right, in their order: what paired tests need. */
  readonly correctness: Uint8Array;
}

export interface EvaluateOptions {
  /** Name of the value with the class scores; found when absent. */
  readonly logits?: string;
  readonly signal?: AbortSignal;
  readonly batchSize?: number;
}

/**
 * Runs a classifier on labelled examples, on the CPU with one thread.
 *
 * @throws LearnError LEARN_NO_LOGITS, LEARN_EXAMPLES_INVALID, LEARN_RUNTIME_FAILED, LEARN_ABORTED
 * @throws OnnxError when the bytes are no ONNX model
 */
export async function evaluateClassifier(
  model: Uint8Array,
  examples: Examples,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const decoded = decodeOnnx(model);
  const description = describeModel(decoded);
  const scores = findScoreOutput(decoded, options.logits);
  const [input] = description.inputs;
  if (input?.dtype !== 'FP32') {
    throw new LearnError('LEARN_NO_LOGITS', 'The model does not take one float32 tensor of features.', {
      remedy: 'Only classifiers of float32 features can be judged by labelled examples.',
    });
  }
  const classes = description.outputs.find(({ name }) => name === scores.name)?.shape.at(-1) ?? -1;
  const exampleShape = input.shape.slice(1);
  const width = exampleShape.reduce((product, size) => product * size, 1);
  checkExamples(examples, { width, classes: classes > 0 ? classes : Number.MAX_SAFE_INTEGER });
  const [fixed = -1] = input.shape;
  const batchSize = fixed > 0 ? fixed : (options.batchSize ?? 256);
  const session = await openSession(model);
  const tally = new Tally(examples.count);
  try {
    for (let start = 0; start < examples.count; start += batchSize) {
      if (options.signal?.aborted) throw aborted(options.signal.reason);
      const rows = Math.min(batchSize, examples.count - start);
      // A fixed batch is filled up with zeros, whose answers nobody reads.
      const batch = new Float32Array((fixed > 0 ? batchSize : rows) * width);
      batch.set(examples.features.subarray(start * width, (start + rows) * width));
      const shape = [batch.length / width, ...exampleShape];
      const outputs = await runSession(session, { [input.name]: new Tensor('float32', batch, shape) });
      const values = outputs[scores.name]?.data as Float32Array;
      const perRow = values.length / (batch.length / width);
      for (let row = 0; row < rows; row++) {
        tally.add(
          start + row,
          examples.labels[start + row] ?? 0,
          values.subarray(row * perRow, (row + 1) * perRow),
          scores.kind,
        );
      }
      await nextTurn();
    }
  } finally {
    await session.release();
  }
  return tally.result();
}

class Tally {
  readonly #correctness: Uint8Array;
  readonly #confusion: number[][] = [];
  readonly #count: number;
  #loss = 0;

  constructor(count: number) {
    this.#count = count;
    this.#correctness = new Uint8Array(count);
  }

  add(row: number, label: number, scores: Float32Array, kind: ScoreOutput['kind']): void {
    if (this.#confusion.length === 0)
      this.#confusion.push(...Array.from(scores, () => new Array<number>(scores.length).fill(0)));
    // The first of equal scores, as ONNX ArgMax and NumPy have it.
    const predicted = scores.reduce((best, score, index) => (score > (scores[best] ?? -Infinity) ? index : best), 0);
    const counts = this.#confusion[label];
    if (counts) counts[predicted] = (counts[predicted] ?? 0) + 1;
    this.#correctness[row] = predicted === label ? 1 : 0;
    this.#loss += crossEntropy(scores, label, kind);
  }

  result(): Evaluation {
    const correct = this.#correctness.reduce((sum, one) => sum + one, 0);
    return {
      count: this.#count,
      correct,
      accuracy: correct / this.#count,
      loss: this.#loss / this.#count,
      confusion: this.#confusion,
      correctness: this.#correctness,
    };
  }
}

/** Smallest float32 probability that is not zero: a certain error costs about 103 nats rather than infinity. */
const MIN_PROBABILITY = 2 ** -149;

function crossEntropy(scores: Float32Array, label: number, kind: ScoreOutput['kind']): number {
  const score = scores[label] ?? NaN;
  if (kind === 'log-probabilities') return -score;
  if (kind === 'probabilities') return -Math.log(Math.max(score, MIN_PROBABILITY));
  const highest = scores.reduce((best, value) => Math.max(best, value), -Infinity);
  const sum = scores.reduce((total, value) => total + Math.exp(value - highest), 0);
  return highest + Math.log(sum) - score;
}

function aborted(cause: unknown): LearnError {
  return new LearnError('LEARN_ABORTED', 'The evaluation was stopped.', {
    remedy: 'Nothing was changed. Start it again.',
    cause,
  });
}
