import { describe, expect, it } from 'vitest';
import { decodeOnnx, graphOf, tensorValues } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';
import { buildDenseClassifier, train, type Examples, type TrainingRecipe } from '../../../src/learn/index.js';
import { MinibatchSchedule } from '../../../src/learn/minibatches.js';

const [features, classes, count] = [5, 3, 50];

function examples(): Examples {
  const random = seededRandom(3);
  return {
    features: Float32Array.from({ length: count * features }, () => random.normal()),
    labels: Int32Array.from({ length: count }, () => random.nextInt(classes)),
    count,
    width: features,
  };
}

/** Softmax regression in float64, written out: weights [features × classes] then biases, both updated as the papers say. */
function reference(start: readonly number[], data: Examples, recipe: TrainingRecipe, steps: number): number[] {
  const weights = Float64Array.from(start);
  const { learningRate, momentum = 0, weightDecay = 0 } = recipe;
  const first = new Float64Array(weights.length);
  const second = new Float64Array(weights.length);
  const schedule = new MinibatchSchedule({ count, batchSize: recipe.batchSize, seed: recipe.seed });
  const read = (array: Float64Array, index: number): number => array[index] ?? NaN;
  for (let step = 0; step < steps; step++) {
    const batch = schedule.batches(step, 1);
    const rows = Array.from(batch.indices, Number).filter((_, index) => batch.weights[index] === 1);
    const gradient = weights.map((weight) => weightDecay * weight);
    for (const row of rows) {
      const x = [...data.features.subarray(row * features, (row + 1) * features), 1];
      const scores = Array.from({ length: classes }, (_, k) =>
        x.reduce((sum, value, j) => sum + value * read(weights, j * classes + k), 0),
      );
      const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
      scores.forEach((score, k) => {
        const error = Math.exp(score) / total - (data.labels[row] === k ? 1 : 0);
        x.forEach((value, j) => {
          const index = j * classes + k;
          gradient[index] = read(gradient, index) + (error * value) / rows.length;
        });
      });
    }
    gradient.forEach((slope, index) => {
      if (recipe.optimizer === 'sgd') {
        first[index] = momentum * read(first, index) + slope;
        weights[index] = read(weights, index) - learningRate * first[index];
        return;
      }
      first[index] = 0.9 * read(first, index) + 0.1 * slope;
      second[index] = 0.999 * read(second, index) + 0.001 * slope * slope;
      const mean = first[index] / (1 - 0.9 ** (step + 1));
      const square = second[index] / (1 - 0.999 ** (step + 1));
      weights[index] = read(weights, index) - (learningRate * mean) / (Math.sqrt(square) + 1e-8);
    });
  }
  return Array.from(weights);
}

const weightsOf = (bytes: Uint8Array) =>
  graphOf(decodeOnnx(bytes)).initializer.flatMap((tensor) => Array.from(tensorValues(tensor), Number));

describe('the optimizers', () => {
  // 50 examples in batches of 16: the last batch of each epoch has 2 rows and 14 that must not count.
  const common = { batchSize: 16, duration: { steps: 60 }, seed: 5 };
  const recipes: TrainingRecipe[] = [
    { optimizer: 'sgd', learningRate: 0.1, ...common },
    { optimizer: 'sgd', learningRate: 0.05, momentum: 0.9, ...common },
    { optimizer: 'sgd', learningRate: 0.05, momentum: 0.9, weightDecay: 0.01, ...common },
    { optimizer: 'adam', learningRate: 0.02, ...common },
    { optimizer: 'adam', learningRate: 0.02, weightDecay: 0.05, ...common },
  ];
  it.each(recipes)(
    'when softmax regression is trained with %o, it takes the steps that a plain implementation takes',
    async (recipe) => {
      const model = buildDenseClassifier({ features, hidden: [], classes, seed: 9 });
      const trained = await train({ model, examples: examples(), recipe, signal: new AbortController().signal });
      const expected = reference(weightsOf(model), examples(), recipe, 60);
      weightsOf(trained.model).forEach((weight, index) => expect(weight).toBeCloseTo(expected[index] ?? NaN, 4));
    },
  );
});
