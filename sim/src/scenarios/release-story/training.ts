import {
  buildDenseClassifier,
  concatExamples,
  evaluateClassifier,
  selectExamples,
  standardization,
  train,
  type Examples,
} from '@drover/agent/learn';
import type { Recipe } from '@drover/shared/manifest';
import { seededRandom } from '@drover/shared/statistics';
import type { StreamedExamples, World } from '../../world/index.js';
import { referenceOf } from './reference.js';
import type { Portions, TrainedModel } from './scene.js';

const HIDDEN = [32];
const TRAIN_SHARE = 0.6;
const HOLDOUT_SHARE = 0.2;

/** Ships signed in every release of the story: how it was trained, and within which bounds a device may train it on. */
export const RECIPE: Recipe = {
  optimizer: 'adam',
  learningRate: 0.005,
  momentum: 0,
  weightDecay: 0,
  batchSize: 32,
  epochs: 15,
  replayShare: 0.5,
  trainable: [],
  adaptation: 'auto',
  bounds: { minLabelled: 400, holdoutShare: 0.4, minImprovement: 0.02, maxForgetting: 0.08, alpha: 0.05 },
};

export function divide(examples: Examples, seed: number): Portions {
  const rows = seededRandom(seed)
    .fork('portions')
    .shuffle(Array.from({ length: examples.count }, (_, row) => row));
  const trainEnd = Math.round(rows.length * TRAIN_SHARE);
  const holdoutEnd = Math.round(rows.length * (TRAIN_SHARE + HOLDOUT_SHARE));
  return {
    train: selectExamples(examples, rows.slice(0, trainEnd)),
    holdout: selectExamples(examples, rows.slice(trainEnd, holdoutEnd)),
    anchor: selectExamples(examples, rows.slice(holdoutEnd)),
  };
}

export interface TrainingOrder {
  readonly world: World;
  readonly examples: StreamedExamples;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Weights to start from; fresh ones when absent. */
  readonly startFrom?: Uint8Array;
  /** A mistake in the data: it reaches training and held-out rows alike, so the publisher does not see it. */
  readonly alter?: (rows: Examples) => Examples;
  /** Rows of the old task that are trained on as well, against forgetting. */
  readonly replay?: Examples;
  /** Of the same rows, where it was made already. */
  readonly reference?: TrainedModel['reference'] | undefined;
  readonly onProgress: (share: number, loss: number) => void;
}

/** Trains with the engine that devices use, and judges on rows that training did not see. */
export async function trainModel(order: TrainingOrder): Promise<TrainedModel> {
  const { world, examples, seed, signal, alter = (rows: Examples) => rows } = order;
  const divided = divide(examples, seed);
  const portions: Portions = { ...divided, train: alter(divided.train), holdout: alter(divided.holdout) };
  const model =
    order.startFrom ??
    buildDenseClassifier({
      features: examples.width,
      hidden: HIDDEN,
      classes: world.labels.length,
      seed,
      standardize: standardization(portions.train.features, examples.width),
    });
  const trained = await train({
    model,
    examples: order.replay ? concatExamples(portions.train, order.replay) : portions.train,
    recipe: { ...RECIPE, duration: { epochs: RECIPE.epochs }, seed },
    signal,
    onProgress: ({ step, steps, loss }) => order.onProgress(step / steps, loss),
  });
  const { accuracy, count } = await evaluateClassifier(trained.model, portions.holdout);
  return {
    bytes: trained.model,
    portions,
    reference: order.reference ?? referenceOf(world, examples, seed),
    heldOut: { accuracy, rows: count },
    run: {
      id: `run-${seed}`,
      tool: 'drover training engine',
      seed,
      steps: trained.steps,
      metrics: { heldOutAccuracy: accuracy, finalLoss: trained.losses.at(-1) ?? 0 },
    },
  };
}
