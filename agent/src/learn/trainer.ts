import { setImmediate as nextTurn } from 'node:timers/promises';
import { performance } from 'node:perf_hooks';
import { Tensor } from '../onnxruntime/index.js';
import {
  decodeOnnx,
  encodeOnnx,
  graphOf,
  replaceInitializers,
  tensorValues,
  type ModelProto,
} from '@drover/shared/onnx';
import { CHECKPOINT_FORMAT, checkCheckpoint, runDigest, type Checkpoint } from './checkpoint.js';
import { LearnError } from './errors.js';
import { checkExamples, type Examples } from './examples.js';
import { compileTrainingStep, type TrainingStep } from './gradient/index.js';
import { MinibatchSchedule } from './minibatches.js';
import { checkRecipe, type TrainingRecipe } from './recipe.js';
import { openSession, runSession } from './runtime.js';

export interface TrainingProgress {
  /** Steps taken. */
  readonly step: number;
  readonly steps: number;
  /** Mean over the last slice. */
  readonly loss: number;
}

/** How training is cut into runs of the session, none of which can be interrupted. Changes how often it reports, never its result. */
export interface Slicing {
  readonly targetMs: number;
  readonly maxSteps: number;
}

const DEFAULT_SLICING: Slicing = { targetMs: 250, maxSteps: 10_000 };
/** Steps of the first slice, which is measured. */
const FIRST_SLICE_STEPS = 4;

export interface TrainOptions {
  /** An inference model, ONNX. */
  readonly model: Uint8Array;
  readonly examples: Examples;
  readonly recipe: TrainingRecipe;
  readonly signal: AbortSignal;
  /** Value of the model that holds the class scores; found when absent. */
  readonly logits?: string;
  readonly onProgress?: (progress: TrainingProgress) => void;
  /** Called after each slice. */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
  readonly resumeFrom?: Checkpoint;
  readonly slicing?: Partial<Slicing>;
}

export interface TrainingResult {
  /** The same inference model with the new weights. */
  readonly model: Uint8Array;
  readonly steps: number;
  /** Loss of each step, before its update. */
  readonly losses: Float32Array;
}

/**
 * Trains a classifier on this device's ONNX Runtime (docs/adr: training as inference). The same model, examples and recipe give the same weights, bit for
 * bit, on the same machine, however the run is sliced, interrupted and resumed.
 *
 * @throws LearnError LEARN_ABORTED, LEARN_DIVERGED, LEARN_UNSUPPORTED_OPERATOR, LEARN_NO_LOGITS, LEARN_NOT_TRAINABLE, LEARN_EXAMPLES_INVALID,
 *   LEARN_RECIPE_INVALID, LEARN_CHECKPOINT_MISMATCH, LEARN_RUNTIME_FAILED
 * @throws OnnxError when `model` is no ONNX model
 */
export async function train(options: TrainOptions): Promise<TrainingResult> {
  const { examples, recipe, signal, onProgress, onCheckpoint, resumeFrom, logits } = options;
  checkRecipe(recipe);
  const model = decodeOnnx(options.model);
  const { duration, ...settings } = recipe;
  const compiled = compileTrainingStep({ model, ...settings, ...(logits === undefined ? {} : { logits }) });
  checkExamples(examples, { width: elements(compiled.exampleShape), classes: compiled.classes });
  if (examples.count === 0) {
    throw new LearnError('LEARN_EXAMPLES_INVALID', 'There are no examples to train on.', {
      remedy: 'Collect labelled samples first.',
    });
  }
  const schedule = new MinibatchSchedule({ count: examples.count, batchSize: recipe.batchSize, seed: recipe.seed });
  const steps = 'steps' in duration ? duration.steps : duration.epochs * schedule.stepsPerEpoch;
  const run = runDigest(options.model, recipe, examples);
  if (resumeFrom)
    checkCheckpoint(
      resumeFrom,
      run,
      compiled.carried.map(({ dims }) => elements(dims)),
      steps,
    );

  const losses = new Float32Array(steps);
  losses.set(resumeFrom?.losses ?? []);
  let tensors = resumeFrom ? toTensors(compiled, resumeFrom.tensors) : initialTensors(compiled, model);
  let step = resumeFrom?.step ?? 0;
  let sliceSteps = FIRST_SLICE_STEPS;
  const slicing = { ...DEFAULT_SLICING, ...options.slicing };
  const data = {
    [compiled.inputs.examples]: new Tensor('float32', examples.features, [examples.count, ...compiled.exampleShape]),
    [compiled.inputs.labels]: new Tensor('int64', BigInt64Array.from(examples.labels, BigInt), [examples.count]),
  };
  const session = await openSession(encodeOnnx(compiled.model));
  try {
    while (step < steps) {
      if (signal.aborted) throw aborted(step, steps, signal.reason);
      const count = Math.min(sliceSteps, slicing.maxSteps, steps - step);
      const startedAt = performance.now();
      const { indices, weights } = schedule.batches(step, count);
      const dims = [count, schedule.batchSize];
      const outputs = await runSession(session, {
        ...data,
        [compiled.inputs.indices]: new Tensor('int64', indices, dims),
        [compiled.inputs.weights]: new Tensor('float32', weights, dims),
        [compiled.inputs.step]: new Tensor('int64', BigInt64Array.of(BigInt(step)), []),
        ...feedsOf(compiled, tensors),
      });
      const sliceLosses = outputs[compiled.losses]?.data as Float32Array;
      tensors = compiled.carried.map(({ outputName }) => outputs[outputName] as Tensor);
      losses.set(sliceLosses, step);
      step += count;
      if (sliceLosses.some((loss) => !Number.isFinite(loss)) || !allFinite(compiled, tensors)) throw diverged(step);
      const perStepMs = (performance.now() - startedAt) / count;
      // Never more than a fourfold leap: the first slices also pay for warming up.
      sliceSteps = Math.max(1, Math.min(sliceSteps * 4, Math.floor(slicing.targetMs / perStepMs)));
      onProgress?.({ step, steps, loss: sliceLosses.reduce((sum, loss) => sum + loss, 0) / count });
      onCheckpoint?.({
        format: CHECKPOINT_FORMAT,
        run,
        step,
        tensors: tensors.map(valuesOf),
        losses: losses.slice(0, step),
      });
      // A run blocks the event loop; here timers, messages and the abort signal get their turn.
      await nextTurn();
    }
  } finally {
    await session.release();
  }
  const trained = new Map(
    compiled.carried.flatMap(({ weight, slot }, index) => {
      const tensor = tensors[index];
      return slot === undefined && tensor ? [[weight, valuesOf(tensor)] as const] : [];
    }),
  );
  return { model: encodeOnnx(replaceInitializers(model, trained)), steps, losses };
}

const elements = (dims: readonly number[]): number => dims.reduce((product, size) => product * size, 1);
const valuesOf = (tensor: Tensor): Float32Array => (tensor.data as Float32Array).slice();

function toTensors({ carried }: TrainingStep, values: readonly Float32Array[]): Tensor[] {
  return carried.map(
    ({ dims }, index) => new Tensor('float32', values[index] ?? new Float32Array(elements(dims)), dims),
  );
}

function feedsOf({ carried }: TrainingStep, tensors: readonly Tensor[]): Record<string, Tensor> {
  return Object.fromEntries(carried.map(({ inputName }, index) => [inputName, tensors[index] as Tensor]));
}

/** The model's own weights, and zeros for the optimizer. */
function initialTensors(compiled: TrainingStep, model: ModelProto): Tensor[] {
  const initializers = new Map(graphOf(model).initializer.map((tensor) => [tensor.name, tensor]));
  const values = compiled.carried.map(({ weight, slot, dims }) => {
    const tensor = initializers.get(weight);
    return slot === undefined && tensor ? (tensorValues(tensor) as Float32Array) : new Float32Array(elements(dims));
  });
  return toTensors(compiled, values);
}

/** The last update's damage does not show in the losses, which are taken before it. */
function allFinite({ carried }: TrainingStep, tensors: readonly Tensor[]): boolean {
  return carried.every((_, index) => (tensors[index]?.data as Float32Array).every(Number.isFinite));
}

function diverged(step: number): LearnError {
  return new LearnError('LEARN_DIVERGED', `The loss is not a finite number any more (at or before step ${step}).`, {
    remedy: 'Lower the learning rate in the recipe, and check that the features are scaled as in the training data.',
  });
}

function aborted(step: number, steps: number, cause: unknown): LearnError {
  return new LearnError('LEARN_ABORTED', `Training was stopped after ${step} of ${steps} steps.`, {
    remedy: 'Nothing was changed. Start it again, from the last checkpoint where there is one.',
    cause,
  });
}
