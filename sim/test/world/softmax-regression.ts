import { standardization } from '@drover/agent/learn';
import type { Examples } from '../../src/world/index.js';

/** A linear classifier apart from the product's own training, to judge whether a world can be learnt: full-batch gradient descent with momentum. */
export function trainSoftmaxRegression(raw: Examples, classes: number, steps = 150): (examples: Examples) => number {
  const facts = standardization(raw.features, raw.width);
  const { features, labels, count, width } = standardize(raw, facts);
  const inputs = width + 1; // the last one is the bias
  const weights = new Float64Array(classes * inputs);
  const velocity = new Float64Array(weights.length);

  const probabilities = (rows: Float32Array, row: number): Float64Array => {
    const scores = new Float64Array(classes);
    for (let gas = 0; gas < classes; gas++) {
      let score = weights[gas * inputs + width] as number;
      for (let column = 0; column < width; column++) {
        score += (weights[gas * inputs + column] as number) * (rows[row * width + column] as number);
      }
      scores[gas] = score;
    }
    const highest = Math.max(...scores);
    const exponentials = scores.map((score) => Math.exp(score - highest));
    const sum = exponentials.reduce((total, value) => total + value, 0);
    return exponentials.map((value) => value / sum);
  };

  for (let step = 0; step < steps; step++) {
    const gradient = new Float64Array(weights.length);
    for (let row = 0; row < count; row++) {
      const predicted = probabilities(features, row);
      for (let gas = 0; gas < classes; gas++) {
        const error = ((predicted[gas] as number) - (labels[row] === gas ? 1 : 0)) / count;
        for (let column = 0; column < width; column++) {
          gradient[gas * inputs + column] =
            (gradient[gas * inputs + column] as number) + error * (features[row * width + column] as number);
        }
        gradient[gas * inputs + width] = (gradient[gas * inputs + width] as number) + error;
      }
    }
    for (let index = 0; index < weights.length; index++) {
      velocity[index] = 0.9 * (velocity[index] as number) - 0.3 * (gradient[index] as number);
      weights[index] = (weights[index] as number) + (velocity[index] as number);
    }
  }

  return (examples) => {
    const standard = standardize(examples, facts);
    const right = standard.labels.filter((label, row) => {
      const predicted = probabilities(standard.features, row);
      return predicted.indexOf(Math.max(...predicted)) === label;
    });
    return right.length / examples.count;
  };
}

/** Every feature as (x − mean) / scale. */
function standardize(examples: Examples, { mean, scale }: ReturnType<typeof standardization>): Examples {
  const features = examples.features.map((value, index) => {
    const column = index % examples.width;
    return (value - (mean[column] ?? 0)) / (scale[column] ?? 1);
  });
  return { ...examples, features };
}
