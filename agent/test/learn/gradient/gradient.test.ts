import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeOnnx, encodeOnnx } from '@drover/shared/onnx';
import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import { train, type Examples } from '../../../src/learn/index.js';
import { ARCHITECTURES, CLASSES, FEATURES, buildArchitecture } from './architectures.js';
import { referenceLoss, weightsOf, type Dense } from './reference-network.js';

function drawExamples(random: SeededRandom, count: number): Examples {
  return {
    features: Float32Array.from({ length: count * FEATURES }, () => random.normal()),
    labels: Int32Array.from({ length: count }, () => random.nextInt(CLASSES)),
    count,
    width: FEATURES,
  };
}

/** A step of plain descent at rate 1 on all examples moves each weight by exactly its gradient. */
async function gradientByTraining(bytes: Uint8Array, examples: Examples, trainable: readonly string[]) {
  const { model, losses } = await train({
    model: bytes,
    examples,
    recipe: {
      optimizer: 'sgd',
      learningRate: 1,
      batchSize: examples.count,
      duration: { steps: 1 },
      seed: 1,
      trainable,
    },
    signal: new AbortController().signal,
  });
  const [before, after] = [weightsOf(decodeOnnx(bytes)), weightsOf(decodeOnnx(model))];
  const gradients = new Map(
    [...before].map(([name, { data }]) => [
      name,
      data.map((value, index) => value - (after.get(name)?.data[index] ?? NaN)),
    ]),
  );
  return { gradients, loss: losses[0] ?? NaN };
}

/** Central differences in float64, where h = 1e-6 leaves about ten digits. */
function finiteDifference(
  loss: (weights: ReadonlyMap<string, Dense>) => number,
  weights: ReadonlyMap<string, Dense>,
  name: string,
) {
  const { dims, data } = weights.get(name) ?? { dims: [], data: [] };
  const h = 1e-6;
  const moved = (at: number, by: number) =>
    loss(new Map(weights).set(name, { dims, data: data.map((value, index) => (index === at ? value + by : value)) }));
  return data.map((_, index) => (moved(index, h) - moved(index, -h)) / (2 * h));
}

describe('the compiled gradient', () => {
  it.each(Object.entries(ARCHITECTURES))(
    'when the network is %s, it agrees with finite differences for every weight, operator set and seed',
    async (_, parts) => {
      const drawn = fc.record({
        seed: fc.integer({ min: 0, max: 2 ** 31 }),
        opset: fc.constantFrom(7, 9, 11, 13, 17, 21),
        count: fc.integer({ min: 1, max: 7 }),
      });
      await fc.assert(
        fc.asyncProperty(drawn, async ({ seed, opset, count }) => {
          const random = seededRandom(seed);
          const model = buildArchitecture(parts, opset, random);
          const examples = drawExamples(random, count);
          const weights = weightsOf(model);
          const { gradients, loss } = await gradientByTraining(encodeOnnx(model), examples, parts.trainable ?? []);
          expect(loss).toBeCloseTo(referenceLoss(model, weights, examples), 4);
          for (const name of Object.keys(parts.weights)) {
            const expected = finiteDifference((changed) => referenceLoss(model, changed, examples), weights, name);
            expected.forEach((slope, index) => {
              const found = gradients.get(name)?.[index] ?? NaN;
              expect(Math.abs(found - slope), `${name}[${index}]: ${found}, not ${slope}`).toBeLessThan(
                2e-5 + 2e-4 * Math.abs(slope),
              );
            });
          }
          for (const { name } of parts.fixed ?? [])
            expect(gradients.get(name)?.every((change) => change === 0)).toBe(true);
        }),
        { numRuns: 12 },
      );
    },
  );
});
