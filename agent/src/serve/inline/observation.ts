import { classesIn } from '@drover/shared/task';
import { isNumeric, numbersOf } from '@drover/shared/tensors';
import type { InstalledModel } from '../../update/ports.js';
import type { FeatureRows, InferenceRecord, Predictions, ServedBy } from '../recorder.js';
import type { TensorMap } from '../tensors/tensor.js';

/** Wider rows (images fed flat, embeddings by the thousand) are counted but not kept: profiles of them need subsampling. */
const MAX_FEATURE_WIDTH = 4_096;

/** A copy of the rows of the only input, where that is a two-dimensional float tensor; taken before the run moves the buffer away. */
export function featureRows(inputs: TensorMap): FeatureRows | undefined {
  const [tensor, ...others] = Object.values(inputs);
  if (!tensor || others.length > 0 || (tensor.datatype !== 'FP32' && tensor.datatype !== 'FP64')) return undefined;
  const [count, width] = tensor.shape;
  if (tensor.shape.length !== 2 || count === undefined || width === undefined || width > MAX_FEATURE_WIDTH)
    return undefined;
  return { values: Float32Array.from(tensor.data as Float32Array | Float64Array), count, width };
}

/** Rows of a batch: the first axis of the first input of rank 2 or more, else 1. */
export function inferencesIn(inputs: TensorMap): number {
  const [first] = Object.values(inputs);
  return first && first.shape.length >= 2 ? Math.max(1, first.shape[0] ?? 1) : 1;
}

/** Class and confidence per row of the scores output, for classification. */
function predictionsOf({ manifest }: InstalledModel, outputs: TensorMap): Predictions | undefined {
  const name = manifest.task.type === 'classification' ? manifest.task.scores : undefined;
  const scores = name === undefined ? undefined : outputs[name];
  if (!scores || !isNumeric(scores)) return undefined;
  const width = classesIn(scores.shape);
  if (width < 1) return undefined;
  const data = numbersOf(scores);
  const rows = Math.floor(data.length / width);
  const classes = new Int32Array(rows);
  const confidences = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = data.subarray(row * width, (row + 1) * width);
    let best = 0;
    for (let index = 1; index < width; index++) if ((values[index] ?? 0) > (values[best] ?? 0)) best = index;
    classes[row] = best;
    confidences[row] = confidenceOf(values, values[best] ?? 0);
  }
  return { classes, confidences };
}

/** Probability of the best class: its score where the row is a distribution already, else its softmax (shifted by the maximum against overflow). */
function confidenceOf(scores: Float32Array | Float64Array, best: number): number {
  let sum = 0;
  let partition = 0;
  let isDistribution = true;
  for (const score of scores) {
    sum += score;
    partition += Math.exp(score - best);
    if (!(score >= 0 && score <= 1)) isDistribution = false;
  }
  return isDistribution && Math.abs(sum - 1) < 1e-3 ? best : 1 / partition;
}

export const servedBy = ({ model, release, adaptation }: InstalledModel): ServedBy => ({
  model,
  release,
  ...(adaptation === undefined ? {} : { adaptation }),
});

/** The value of each row, for a regression that gives one. */
function valuesOf({ manifest }: InstalledModel, outputs: TensorMap, rows: number): Float64Array | undefined {
  const { regression } = manifest.task;
  const [name, ...others] = regression?.outputs ?? [];
  const tensor = name === undefined || others.length > 0 ? undefined : outputs[name];
  if (!tensor || !isNumeric(tensor)) return undefined;
  const data = numbersOf(tensor);
  return data.length === rows ? Float64Array.from(data, (value) => value * (regression?.scale ?? 1)) : undefined;
}

export interface Observed {
  readonly features: FeatureRows | undefined;
  readonly outputs: TensorMap;
  readonly inferences: number;
}

/** What is recorded of a run beside its counts, as far as it is known. */
export function observed(
  installed: InstalledModel,
  { features, outputs, inferences }: Observed,
): Pick<InferenceRecord, 'features' | 'predictions' | 'values'> {
  const predictions = predictionsOf(installed, outputs);
  const values = valuesOf(installed, outputs, inferences);
  return { ...(features && { features }), ...(predictions && { predictions }), ...(values && { values }) };
}
