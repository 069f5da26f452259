import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { Differences } from './differences.js';
import { outputUnfit, taskUnfit } from './errors.js';
import { demandOutput, readOutput } from './outputs.js';
import type { Task } from './schema.js';

/** Of each row its classes. */
export interface DecodedClasses {
  readonly kind: 'classification';
  /** Index of the most probable class, the first of several; −1 where a score is no number. */
  readonly classes: Int32Array;
  /** [rows × width]: the scores where they are a distribution already, else their softmax. */
  readonly probabilities: Float64Array;
  readonly width: number;
}

/** The number of classes that a shape of scores has: its last axis longer than one, since image classifiers end in [rows × classes × 1 × 1]. */
export const classesIn = (shape: readonly number[]): number => shape.findLast((axis) => axis !== 1) ?? 1;

/** @throws TaskError TASK_UNFIT */
export function classDecoder(scores: string, { labels }: Task, signature: readonly TensorSignature[]) {
  const stated = classesIn(demandOutput(signature, scores, 'floats').shape);
  if (labels && stated !== -1 && labels.length !== stated)
    throw taskUnfit(`the output "${scores}" has ${stated} scores for ${labels.length} labels`);
  return (outputs: TensorMap): DecodedClasses => {
    const { shape, data } = readOutput(outputs, scores);
    const width = classesIn(shape);
    if (labels && labels.length !== width)
      throw outputUnfit(scores, `it has ${width} scores for ${labels.length} labels`);
    const rows = width === 0 ? 0 : data.length / width;
    const classes = new Int32Array(rows);
    const probabilities = new Float64Array(data);
    for (let row = 0; row < rows; row++) {
      const values = probabilities.subarray(row * width, (row + 1) * width);
      classes[row] = indexOfLargest(values);
      toDistribution(values);
    }
    return { kind: 'classification', classes, probabilities, width };
  };
}

/** @returns −1 where one is no number */
function indexOfLargest(values: Float64Array): number {
  let best = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? NaN;
    if (Number.isNaN(value)) return -1;
    if (value > (values[best] ?? NaN)) best = index;
  }
  return best;
}

/** In place. Softmax is shifted by the maximum against overflow. */
function toDistribution(values: Float64Array): void {
  let sum = 0;
  let largest = -Infinity;
  let isDistribution = true;
  for (const value of values) {
    sum += value;
    if (value > largest) largest = value;
    if (!(value >= 0 && value <= 1)) isDistribution = false;
  }
  if (isDistribution && Math.abs(sum - 1) < 1e-3) return;
  let partition = 0;
  for (let index = 0; index < values.length; index++) {
    const power = Math.exp((values[index] ?? NaN) - largest);
    values[index] = power;
    partition += power;
  }
  for (let index = 0; index < values.length; index++) values[index] = (values[index] ?? NaN) / partition;
}

/** Share of the rows with the same class; a row is beyond the tolerance where one of its probabilities is. */
export function classAgreement(
  expected: DecodedClasses,
  actual: DecodedClasses,
  { tolerance }: AgreementOptions,
): Agreement {
  const rows = Math.max(expected.classes.length, actual.classes.length);
  const width = Math.max(expected.width, actual.width);
  let same = 0;
  let beyondTolerance = 0;
  let largestDifference = 0;
  for (let row = 0; row < rows; row++) {
    const wanted = expected.classes[row] ?? -1;
    if (wanted >= 0 && wanted === actual.classes[row]) same += 1;
    const differences = new Differences(tolerance);
    for (let index = 0; index < width; index++)
      differences.add(probabilityAt(actual, row, index), probabilityAt(expected, row, index));
    if (differences.beyond > 0) beyondTolerance += 1;
    largestDifference = Math.max(largestDifference, differences.largest);
  }
  const value = rows === 0 ? 1 : same / rows;
  return { measure: 'same-class', value, compared: rows, beyondTolerance, largestDifference, details: {} };
}

/** A class that only one side knows is improbable on the other; a row that only one side has is no number there. */
function probabilityAt({ classes, probabilities, width }: DecodedClasses, row: number, index: number): number {
  if (row >= classes.length) return NaN;
  return index < width ? (probabilities[row * width + index] ?? NaN) : 0;
}
