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
    const start = row * width;
    let best = start;
    for (let index = start; index < start + width; index++) if ((data[index] ?? 0) > (data[best] ?? 0)) best = index;
    classes[row] = best - start;
    confidences[row] = confidenceOf(data, start, width, data[best] ?? 0);
  }
  return { classes, confidences };
}

/** Probability of the best class of one row: its score where the row is a distribution already, else its softmax (shifted by the maximum against overflow). */
function confidenceOf(scores: Float32Array | Float64Array, start: number, width: number, best: number): number {
  let sum = 0;
  let partition = 0;
  let isDistribution = true;
  for (let index = start; index < start + width; index++) {
    const score = scores[index] ?? 0;
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

/** One request that reached a model, as it is recorded. */
export interface ObservedRun {
  readonly requestId: string;
  readonly atMs: number;
  readonly latencyUs: number;
  readonly inferences: number;
  readonly features: FeatureRows | undefined;
  /** None where it failed. */
  readonly outputs: TensorMap | undefined;
}

/** Property by property: every request passes, and spreads are dear (decision 21). */
export function recordOf(installed: InstalledModel, run: ObservedRun): Writable<InferenceRecord> {
  const { model, release, adaptation } = installed;
  const { requestId, atMs, latencyUs, inferences, features, outputs } = run;
  const failed = outputs === undefined;
  const record: Writable<InferenceRecord> = { model, release, requestId, atMs, latencyUs, failed, inferences };
  if (adaptation !== undefined) record.adaptation = adaptation;
  // What could not be answered has no place in a profile.
  if (failed) return record;
  const predictions = predictionsOf(installed, outputs);
  const values = valuesOf(installed, outputs, inferences);
  if (features) record.features = features;
  if (predictions) record.predictions = predictions;
  if (values) record.values = values;
  return record;
}

type Writable<Type> = { -readonly [Key in keyof Type]: Type[Key] };
