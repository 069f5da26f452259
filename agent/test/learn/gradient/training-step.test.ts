import { describe, expect, it } from 'vitest';
import { floatTensor, graph, graphOf, model, node, valueInfo, type GraphParts } from '@drover/shared/onnx';
import { LearnError, compileTrainingStep } from '../../../src/learn/index.js';

const build = (parts: Partial<GraphParts>) =>
  model({
    opset: 17,
    graph: graph({
      name: 'g',
      inputs: [valueInfo('x', 'FP32', ['N', 4])],
      outputs: [valueInfo('p', 'FP32', ['N', 3])],
      initializers: [floatTensor('w', [4, 3], new Float32Array(12)), floatTensor('b', [3], new Float32Array(3))],
      nodes: [node('Gemm', ['x', 'w', 'b'], ['z']), node('Softmax', ['z'], ['p'])],
      ...parts,
    }),
  });
const compile = (parts: Partial<GraphParts>, trainable: string[] = []) =>
  compileTrainingStep({ model: build(parts), optimizer: 'sgd', learningRate: 0.1, trainable });
const refusal = (act: () => unknown): LearnError => {
  try {
    act();
  } catch (error) {
    if (error instanceof LearnError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('compileTrainingStep', () => {
  it('when no output is called logits, it finds them before the softmax, and trains weights and biases', () => {
    const step = compile({});
    expect(step.carried.map(({ weight }) => weight)).toEqual(['w', 'b']);
    expect(step.classes).toBe(3);
    expect(step.exampleShape).toEqual([4]);
  });

  it('when only some weights are named, the others are constants of the graph', () => {
    const step = compile({}, ['b']);
    expect(step.carried.map(({ weight }) => weight)).toEqual(['b']);
    expect(graphOf(step.model).initializer.map(({ name }) => name)).toContain('w');
  });

  it('when a node on the way has no gradient, it names the node', () => {
    const nodes = [node('Gemm', ['x', 'w', 'b'], ['z1']), node('Erf', ['z1'], ['z']), node('Softmax', ['z'], ['p'])];
    const error = refusal(() => compile({ nodes }));
    expect(error).toMatchObject({ code: 'LEARN_UNSUPPORTED_OPERATOR', where: 'z' });
    expect(error.message).toContain('Erf');
  });

  it('when an operator is used in a form that is not supported, it says which and why', () => {
    const nodes = [
      node('Flatten', ['x'], ['f'], { axis: { int: 0 } }),
      node('Gemm', ['f', 'w', 'b'], ['z']),
      node('Softmax', ['z'], ['p']),
    ];
    expect(refusal(() => compile({ nodes }))).toMatchObject({ code: 'LEARN_UNSUPPORTED_OPERATOR', where: 'f' });
  });

  it('when a named weight does not exist or nothing can be trained, it refuses', () => {
    expect(refusal(() => compile({}, ['nope']))).toMatchObject({ code: 'LEARN_NOT_TRAINABLE', where: 'nope' });
    expect(refusal(() => compile({ nodes: [node('Relu', ['x'], ['z']), node('Softmax', ['z'], ['p'])] })).code).toBe(
      'LEARN_NOT_TRAINABLE',
    );
  });

  it('when several outputs could be scores, it asks for a name', () => {
    const outputs = [valueInfo('z', 'FP32', ['N', 3]), valueInfo('u', 'FP32', ['N', 3])];
    const nodes = [node('Gemm', ['x', 'w', 'b'], ['z']), node('Relu', ['z'], ['u'])];
    expect(refusal(() => compile({ outputs, nodes })).code).toBe('LEARN_NO_LOGITS');
    const named = compileTrainingStep({
      model: build({ outputs, nodes }),
      optimizer: 'adam',
      learningRate: 0.1,
      logits: 'z',
    });
    expect(named.carried.map(({ slot }) => slot)).toEqual([
      undefined,
      'moment1',
      'moment2',
      undefined,
      'moment1',
      'moment2',
    ]);
  });

  it('when the model has names like those that training adds, they do not collide', () => {
    const initializers = [floatTensor('training/w', [4, 3], new Float32Array(12))];
    const nodes = [node('MatMul', ['x', 'training/w'], ['z']), node('Softmax', ['z'], ['p'])];
    expect(compile({ initializers, nodes }).inputs.examples).toBe('_training/examples');
  });
});
