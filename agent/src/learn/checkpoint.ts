import { digestOf, type Digest } from '@drover/shared/ids';
import type { Examples } from './examples.js';
import { LearnError } from './errors.js';
import type { TrainingRecipe } from './recipe.js';

export const CHECKPOINT_FORMAT = 'drover.checkpoint/1';

/** Everything that training needs to go on as if it had not stopped. Plain data: it may be sent to another process or stored. */
export interface Checkpoint {
  /** CHECKPOINT_FORMAT; a stored one may come from another version. */
  readonly format: string;
  /** Digest of model, recipe and examples: a checkpoint of anything else is refused. */
  readonly run: Digest;
  /** Steps taken. */
  readonly step: number;
  /** Weights and optimizer state, in the order of the training step. */
  readonly tensors: readonly Float32Array[];
  /** Loss of each step so far. */
  readonly losses: Float32Array;
}

/** Names a training run by all that its result depends on. */
export function runDigest(model: Uint8Array, recipe: TrainingRecipe, examples: Examples): Digest {
  const { features, labels } = examples;
  const parts = [
    digestOf(model),
    JSON.stringify(recipe, Object.keys(recipe).sort().concat('epochs', 'steps')),
    digestOf(new Uint8Array(features.buffer, features.byteOffset, features.byteLength)),
    digestOf(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength)),
  ];
  return digestOf(Buffer.from(parts.join('\n')));
}

/** @throws LearnError LEARN_CHECKPOINT_MISMATCH */
export function checkCheckpoint(checkpoint: Checkpoint, run: Digest, sizes: readonly number[], steps: number): void {
  const fits =
    checkpoint.format === CHECKPOINT_FORMAT &&
    checkpoint.run === run &&
    checkpoint.step <= steps &&
    checkpoint.losses.length === checkpoint.step &&
    checkpoint.tensors.length === sizes.length &&
    checkpoint.tensors.every((tensor, index) => tensor.length === sizes[index]);
  if (fits) return;
  throw new LearnError(
    'LEARN_CHECKPOINT_MISMATCH',
    'The checkpoint belongs to another model, recipe or set of examples.',
    {
      remedy: 'Start the training again from its first step.',
    },
  );
}
