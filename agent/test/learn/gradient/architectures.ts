import {
  floatTensor,
  graph,
  int64Tensor,
  model,
  node,
  valueInfo,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '@drover/shared/onnx';
import type { SeededRandom } from '@drover/shared/statistics';

export const FEATURES = 6;
export const CLASSES = 3;

interface Parts {
  readonly nodes: readonly NodeProto[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  /** Tensors that are not trained, with their values. */
  readonly fixed?: readonly TensorProto[];
  readonly inputDims?: readonly number[];
  readonly trainable?: readonly string[];
}

/** Networks that together use every operator, transposition and broadcast that training supports. All end in `logits`. */
export const ARCHITECTURES: Readonly<Record<string, Parts>> = {
  'Gemm, Relu, Gemm with transposed weights, alpha and beta': {
    nodes: [
      node('Gemm', ['x', 'w1', 'b1'], ['h'], { transB: { int: 1 }, alpha: { float: 0.7 }, beta: { float: 1.3 } }),
      node('Relu', ['h'], ['r']),
      node('Gemm', ['r', 'w2', 'b2'], ['logits']),
    ],
    weights: { w1: [5, FEATURES], b1: [5], w2: [5, CLASSES], b2: [1, CLASSES] },
  },
  'MatMul and Add, after fixed standardisation': {
    nodes: [
      node('Sub', ['x', 'mean'], ['c']),
      node('Div', ['c', 'scale'], ['s']),
      node('MatMul', ['s', 'w1'], ['m1']),
      node('Add', ['m1', 'b1'], ['h']),
      node('Relu', ['h'], ['r']),
      node('MatMul', ['r', 'w2'], ['m2']),
      node('Add', ['b2', 'm2'], ['logits']),
    ],
    weights: { w1: [FEATURES, 4], b1: [4], w2: [4, CLASSES], b2: [CLASSES] },
    fixed: [
      floatTensor('mean', [FEATURES], Float32Array.of(0.1, 0.2, -0.3, 0, 0.5, 1)),
      floatTensor('scale', [FEATURES], Float32Array.of(1, 2, 0.5, 1, 1, 3)),
    ],
  },
  'a batch that lies in columns: every transposition of Gemm': {
    nodes: [
      node('Gemm', ['w1', 'x', 'b1'], ['h'], { transB: { int: 1 } }),
      node('Relu', ['h'], ['r']),
      node('Gemm', ['w2', 'r', 'b2'], ['h2'], { transA: { int: 1 } }),
      node('Gemm', ['h2', 'w3', 'b3'], ['logits'], { transA: { int: 1 }, transB: { int: 1 } }),
    ],
    weights: { w1: [5, FEATURES], b1: [5, 1], w2: [5, 4], b2: [1, 1], w3: [CLASSES, 4], b3: [CLASSES] },
  },
  'Flatten, and a weight that is used twice': {
    nodes: [
      node('Flatten', ['x'], ['f']),
      node('Gemm', ['f', 'w', 'b'], ['h']),
      node('Relu', ['h'], ['r']),
      node('Gemm', ['r', 'w', 'b'], ['h2']),
      node('Gemm', ['h2', 'v', 'c'], ['logits']),
    ],
    weights: { w: [FEATURES, FEATURES], b: [FEATURES], v: [FEATURES, CLASSES], c: [CLASSES] },
    inputDims: [2, 3],
  },
  'Reshape and Identity, with a residual connection': {
    nodes: [
      node('Reshape', ['x', 'flat'], ['f']),
      node('MatMul', ['f', 'w1'], ['m']),
      node('Relu', ['m'], ['r']),
      node('Add', ['r', 'f'], ['sum']),
      node('Identity', ['sum'], ['i']),
      node('Reshape', ['i', 'rows'], ['j']),
      node('Gemm', ['j', 'w2', 'b2'], ['logits']),
    ],
    weights: { w1: [FEATURES, FEATURES], w2: [FEATURES, CLASSES], b2: [CLASSES] },
    fixed: [int64Tensor('flat', [2], [0, -1]), int64Tensor('rows', [2], [-1, FEATURES])],
    inputDims: [3, 2],
  },
  'trained element-wise operands that broadcast': {
    nodes: [
      node('Sub', ['x', 'shift'], ['a']),
      node('Mul', ['a', 'gain'], ['b']),
      node('Div', ['b', 'divisor'], ['c']),
      node('Add', ['c', 'offset'], ['d']),
      node('Sub', ['top', 'd'], ['e']),
      node('Gemm', ['e', 'w', 'bias'], ['g']),
      node('Div', ['g', 'temperature'], ['logits']),
    ],
    weights: {
      shift: [FEATURES],
      gain: [1, FEATURES],
      divisor: [FEATURES],
      offset: [1],
      top: [],
      w: [FEATURES, CLASSES],
      bias: [],
      temperature: [1, 1],
    },
    trainable: ['shift', 'gain', 'divisor', 'offset', 'top', 'w', 'bias', 'temperature'],
  },
};

export function buildArchitecture(parts: Parts, opset: number, random: SeededRandom): ModelProto {
  const weights = Object.entries(parts.weights).map(([name, dims]) => {
    const count = dims.reduce((product, dim) => product * dim, 1);
    // Divisors stay away from zero.
    const draw = () => (name === 'divisor' || name === 'temperature' ? 1 + random.next() : 0.6 * random.normal());
    return floatTensor(name, dims, Float32Array.from({ length: count }, draw));
  });
  return model({
    opset,
    graph: graph({
      name: 'architecture',
      inputs: [valueInfo('x', 'FP32', ['N', ...(parts.inputDims ?? [FEATURES])])],
      outputs: [valueInfo('probabilities', 'FP32', ['N', CLASSES])],
      initializers: [...weights, ...(parts.fixed ?? [])],
      nodes: [...parts.nodes, node('Softmax', ['logits'], ['probabilities'], { axis: { int: 1 } })],
    }),
  });
}
