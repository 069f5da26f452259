import { describe, expect, it } from 'vitest';
import { decodeOnnx, encodeOnnx, floatTensor, graph, graphOf, model, node, valueInfo } from '@drover/shared/onnx';
import { buildDenseClassifier, evaluateClassifier, type Examples } from '../../src/learn/index.js';
import { clouds } from './synthetic.js';

const coded = (code: string) => expect.objectContaining({ code }) as Error;

/** Scores are the features themselves, so that every answer is known. */
const echo = (batch: number | string, softmax: boolean) =>
  encodeOnnx(
    model({
      opset: 13,
      graph: graph({
        name: 'echo',
        inputs: [valueInfo('x', 'FP32', [batch, 2])],
        outputs: [valueInfo('y', 'FP32', [batch, 2])],
        initializers: [floatTensor('zero', [], Float32Array.of(0))],
        nodes: softmax
          ? [node('Add', ['x', 'zero'], ['z']), node('Softmax', ['z'], ['y'], { axis: { int: 1 } })]
          : [node('Add', ['x', 'zero'], ['y'])],
      }),
    }),
  );
const four: Examples = {
  features: Float32Array.of(2, 1, 0, 3, 5, 4, 1, 1),
  labels: Int32Array.of(0, 1, 1, 0),
  count: 4,
  width: 2,
};

describe('evaluateClassifier', () => {
  it.each([
    { batch: 'N', softmax: false },
    { batch: 'N', softmax: true },
    { batch: 1, softmax: true },
    { batch: 3, softmax: false },
  ])('when the answers are known (batch $batch, softmax $softmax), it counts them', async ({ batch, softmax }) => {
    const found = await evaluateClassifier(echo(batch, softmax), four, { batchSize: 3 });
    expect(found).toMatchObject({
      count: 4,
      correct: 3,
      accuracy: 0.75,
      confusion: [
        [2, 0],
        [1, 1],
      ],
    });
    expect(Array.from(found.correctness)).toEqual([1, 1, 0, 1]);
    const logLoss = (right: number, wrong: number) => Math.log(1 + Math.exp(wrong - right));
    expect(found.loss).toBeCloseTo((logLoss(2, 1) + logLoss(3, 0) + logLoss(4, 5) + logLoss(1, 1)) / 4, 5);
  });

  it('when there are no examples, it counts none', async () => {
    const none = { features: new Float32Array(), labels: new Int32Array(), count: 0, width: 2 };
    expect(await evaluateClassifier(echo('N', true), none)).toMatchObject({ count: 0, correct: 0, accuracy: NaN });
  });

  it('when examples do not fit or the model is not one, it refuses', async () => {
    await expect(evaluateClassifier(echo('N', true), clouds({ count: 3 }))).rejects.toThrow(
      coded('LEARN_EXAMPLES_INVALID'),
    );
    await expect(evaluateClassifier(Buffer.from('no model'), four)).rejects.toThrow(coded('ONNX_NOT_A_MODEL'));
    const broken = decodeOnnx(echo('N', true));
    for (const broke of graphOf(broken).node) broke.opType = 'NoSuchOperator';
    await expect(evaluateClassifier(encodeOnnx(broken), four)).rejects.toThrow(coded('LEARN_RUNTIME_FAILED'));
  });

  it('when it is aborted, it stops', async () => {
    const signal = AbortSignal.abort();
    await expect(evaluateClassifier(echo('N', true), four, { signal })).rejects.toThrow(coded('LEARN_ABORTED'));
  });
});

describe('buildDenseClassifier', () => {
  it('when it is built twice from one seed, the bytes are the same; another seed gives others', () => {
    const build = (seed: number) => buildDenseClassifier({ features: 4, hidden: [3], classes: 2, seed });
    expect(build(1)).toEqual(build(1));
    expect(build(2)).not.toEqual(build(1));
  });

  it('when standardisation is given, features far from zero cost the same as standardised ones', async () => {
    const plain = clouds({ count: 50, width: 4 });
    const moved = { ...plain, features: plain.features.map((value) => 100 + 10 * value) };
    const shape = { features: 4, hidden: [5], classes: 3, seed: 3 };
    const standardize = { mean: new Float32Array(4).fill(100), scale: new Float32Array(4).fill(10) };
    const expected = await evaluateClassifier(buildDenseClassifier(shape), plain);
    const found = await evaluateClassifier(buildDenseClassifier({ ...shape, standardize }), moved);
    expect(found.loss).toBeCloseTo(expected.loss, 3);
  });

  it('when its description makes no sense, it refuses', () => {
    const shape = { features: 4, hidden: [], classes: 2, seed: 1 };
    const flat = { mean: new Float32Array(4), scale: new Float32Array(4) };
    for (const bad of [{ classes: 1 }, { features: 0 }, { hidden: [2.5] }, { standardize: flat }]) {
      expect(() => buildDenseClassifier({ ...shape, ...bad })).toThrow(coded('LEARN_RECIPE_INVALID'));
    }
  });
});
