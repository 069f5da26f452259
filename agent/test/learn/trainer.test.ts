import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeOnnx, graphOf, tensorValues } from '@drover/shared/onnx';
import {
  buildDenseClassifier,
  evaluateClassifier,
  splitExamples,
  standardization,
  train,
  type Checkpoint,
  type TrainingRecipe,
} from '../../src/learn/index.js';
import { MinibatchSchedule } from '../../src/learn/minibatches.js';
import { gasBatches, hasData } from './gas-sensor-data.js';
import { clouds } from './synthetic.js';

const coded = (code: string) => expect.objectContaining({ code }) as Error;
const examples = clouds({ count: 100 });
const model = buildDenseClassifier({
  features: 8,
  hidden: [6],
  classes: 3,
  seed: 1,
  standardize: standardization(examples.features, 8),
});
const recipe: TrainingRecipe = {
  optimizer: 'adam',
  learningRate: 0.01,
  batchSize: 16,
  duration: { epochs: 10 },
  seed: 7,
};
const never = () => new AbortController().signal;

describe('train', () => {
  it('when it has trained, loss falls, accuracy rises, and the constants of standardisation are untouched', async () => {
    const { model: trained, losses, steps } = await train({ model, examples, recipe, signal: never() });
    expect(steps).toBe(10 * 7);
    expect(losses).toHaveLength(70);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 2);
    const [before, after] = [await evaluateClassifier(model, examples), await evaluateClassifier(trained, examples)];
    expect(after.accuracy).toBeGreaterThan(Math.max(0.9, before.accuracy));
    const constantsOf = (bytes: Uint8Array) =>
      graphOf(decodeOnnx(bytes))
        .initializer.filter(({ name }) => name.startsWith('standardize'))
        .map(tensorValues);
    expect(constantsOf(trained)).toEqual(constantsOf(model));
  });

  it('when it is sliced otherwise, the weights are the same, bit for bit', async () => {
    const whole = await train({ model, examples, recipe, signal: never() });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 80 }), async (maxSteps) => {
        const sliced = await train({ model, examples, recipe, signal: never(), slicing: { maxSteps } });
        expect(sliced.model).toEqual(whole.model);
        expect(sliced.losses).toEqual(whole.losses);
      }),
      { numRuns: 5 },
    );
  });

  it.each(['sgd', 'adam'] as const)(
    'when %s is interrupted and resumed from a checkpoint, it ends with the same weights, bit for bit',
    async (optimizer) => {
      const options = { model, examples, recipe: { ...recipe, optimizer, momentum: 0.9 } };
      const whole = await train({ ...options, signal: never() });
      const stop = new AbortController();
      let checkpoint: Checkpoint | undefined;
      const interrupted = train({
        ...options,
        signal: stop.signal,
        slicing: { maxSteps: 9 },
        onCheckpoint: (saved) => {
          checkpoint = saved;
          if (saved.step > 30) stop.abort();
        },
      });
      await expect(interrupted).rejects.toThrow(coded('LEARN_ABORTED'));
      expect(checkpoint?.step).toBeGreaterThan(30);
      expect(checkpoint?.step).toBeLessThan(70);
      const resumed = await train({
        ...options,
        signal: never(),
        ...(checkpoint ? { resumeFrom: structuredClone(checkpoint) } : {}),
      });
      expect(resumed.model).toEqual(whole.model);
      expect(resumed.losses).toEqual(whole.losses);
    },
  );

  it('when the seed differs, the result differs', async () => {
    const one = await train({ model, examples, recipe, signal: never() });
    const other = await train({ model, examples, recipe: { ...recipe, seed: 8 }, signal: never() });
    expect(other.model).not.toEqual(one.model);
  });

  it('when a checkpoint is of another run, it is refused', async () => {
    let checkpoint: Checkpoint | undefined;
    await train({ model, examples, recipe, signal: never(), onCheckpoint: (saved) => (checkpoint ??= saved) });
    if (!checkpoint) throw new Error('no checkpoint was offered');
    const resumeFrom: Checkpoint = checkpoint;
    const attempts = [
      { recipe: { ...recipe, learningRate: 0.02 }, resumeFrom },
      { recipe: { ...recipe, duration: { epochs: 11 } }, resumeFrom },
      { recipe, resumeFrom, examples: clouds({ count: 100, seed: 2 }) },
      { recipe, resumeFrom: { ...resumeFrom, tensors: resumeFrom.tensors.slice(1) } },
      { recipe, resumeFrom: { ...resumeFrom, format: 'drover.checkpoint/9' } },
    ];
    for (const attempt of attempts) {
      await expect(train({ model, examples, signal: never(), ...attempt })).rejects.toThrow(
        coded('LEARN_CHECKPOINT_MISMATCH'),
      );
    }
  });

  it('when only one weight is trainable, all others stay', async () => {
    const { model: trained } = await train({
      model,
      examples,
      recipe: { ...recipe, trainable: ['layer2.bias'] },
      signal: never(),
    });
    const values = (bytes: Uint8Array) =>
      new Map(graphOf(decodeOnnx(bytes)).initializer.map((tensor) => [tensor.name, tensorValues(tensor)]));
    const [before, after] = [values(model), values(trained)];
    for (const [name, value] of before) {
      if (name === 'layer2.bias') expect(after.get(name)).not.toEqual(value);
      else expect(after.get(name)).toEqual(value);
    }
  });

  it('when the learning rate is far too high, it says that training diverged', async () => {
    const wild = { ...recipe, optimizer: 'sgd' as const, learningRate: 1e30 };
    await expect(train({ model, examples, recipe: wild, signal: never() })).rejects.toThrow(coded('LEARN_DIVERGED'));
  });

  it('when examples or recipe make no sense, it refuses before anything runs', async () => {
    const label = { ...examples, labels: examples.labels.with(3, 3) };
    const value = { ...examples, features: examples.features.with(9, NaN) };
    const none = { features: new Float32Array(), labels: new Int32Array(), count: 0, width: 8 };
    for (const bad of [label, value, none, { ...examples, count: 99 }, clouds({ count: 10, width: 9 })]) {
      await expect(train({ model, examples: bad, recipe, signal: never() })).rejects.toThrow(
        coded('LEARN_EXAMPLES_INVALID'),
      );
    }
    for (const bad of [
      { learningRate: -1 },
      { momentum: 1 },
      { batchSize: 0 },
      { duration: { steps: 0 } },
      { weightDecay: NaN },
    ]) {
      await expect(train({ model, examples, recipe: { ...recipe, ...bad }, signal: never() })).rejects.toThrow(
        coded('LEARN_RECIPE_INVALID'),
      );
    }
  });
});

describe('the schedule of minibatches', () => {
  it('when an epoch is over, every row was seen exactly once, and each epoch has another order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 60 }),
        fc.integer({ min: 1, max: 70 }),
        fc.integer(),
        (count, batchSize, seed) => {
          const schedule = new MinibatchSchedule({ count, batchSize, seed });
          for (const epoch of [0, 1]) {
            const { indices, weights } = schedule.batches(epoch * schedule.stepsPerEpoch, schedule.stepsPerEpoch);
            const rows = Array.from(indices, Number).filter((_, index) => weights[index] === 1);
            expect(rows.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, row) => row));
          }
        },
      ),
    );
    const schedule = new MinibatchSchedule({ count: 50, batchSize: 50, seed: 1 });
    expect(schedule.batches(0, 1).indices).not.toEqual(schedule.batches(1, 1).indices);
  });
});

describe.skipIf(!hasData)('real data: gas-sensor-drift (set DROVER_DATA_DIR; skipped where absent)', () => {
  it.each([{ hidden: [] }, { hidden: [64] }])(
    'when batches 1 and 2 are learnt with hidden layers $hidden, held-out accuracy exceeds .95',
    async ({ hidden }) => {
      const [training, holdout] = splitExamples(gasBatches(1, 2), 0.3, 1);
      const fresh = buildDenseClassifier({
        features: 128,
        hidden,
        classes: 6,
        seed: 1,
        standardize: standardization(training.features, 128),
      });
      const { model: trained } = await train({
        model: fresh,
        examples: training,
        recipe: { optimizer: 'adam', learningRate: 0.002, batchSize: 32, duration: { epochs: 50 }, seed: 1 },
        signal: never(),
      });
      expect((await evaluateClassifier(trained, holdout)).accuracy).toBeGreaterThan(0.95);
    },
  );
});
