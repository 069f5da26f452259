import type { Recipe } from '@drover/shared/manifest';
import { LearnError } from './errors.js';

/** The part of a signed recipe (manifest) that the optimizer reads, and a seed that makes the run repeatable. */
export interface TrainingRecipe extends Pick<Recipe, 'optimizer' | 'learningRate'> {
  /** Of SGD; Adam has its own. */
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly batchSize: number;
  /** Either whole passes over the examples, or a number of minibatches. */
  readonly duration: { readonly epochs: number } | { readonly steps: number };
  readonly seed: number;
  /** Initializers to train; those of all layers when absent or empty. */
  readonly trainable?: readonly string[];
}

/** What the publisher signed, with the seed of this run. */
export function trainingRecipe(signed: Recipe, seed: number): TrainingRecipe {
  const { optimizer, learningRate, momentum, weightDecay, batchSize, epochs, trainable } = signed;
  return { optimizer, learningRate, momentum, weightDecay, batchSize, duration: { epochs }, seed, trainable };
}

/** @throws LearnError LEARN_RECIPE_INVALID */
export function checkRecipe({
  learningRate,
  momentum = 0,
  weightDecay = 0,
  batchSize,
  duration,
}: TrainingRecipe): void {
  const refuse = (why: string) =>
    new LearnError('LEARN_RECIPE_INVALID', `The training recipe cannot be followed: ${why}.`, {
      remedy: 'Mend the recipe and publish it.',
    });
  const length = 'epochs' in duration ? duration.epochs : duration.steps;
  if (!(learningRate > 0 && Number.isFinite(learningRate))) throw refuse(`a learning rate of ${learningRate}`);
  if (!(momentum >= 0 && momentum < 1)) throw refuse(`a momentum of ${momentum}`);
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) throw refuse(`a weight decay of ${weightDecay}`);
  if (!Number.isInteger(batchSize) || batchSize < 1) throw refuse(`batches of ${batchSize}`);
  if (!Number.isInteger(length) || length < 1) throw refuse(`${length} ${'epochs' in duration ? 'epochs' : 'steps'}`);
}
