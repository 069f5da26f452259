import {
  floatAttribute,
  graphOf,
  intAttribute,
  tensorDims,
  tensorValues,
  type ModelProto,
  type NodeProto,
} from '@drover/shared/onnx';
import type { Examples } from '../../../src/learn/index.js';

/** An interpreter of a few ONNX operators in float64, independent of the code under test: slow, plain loops. */
export interface Dense {
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

const product = (dims: readonly number[]): number => dims.reduce((all, dim) => all * dim, 1);
const dense = (dims: readonly number[], at: (index: number) => number): Dense => ({
  dims,
  data: Array.from({ length: product(dims) }, (_, index) => at(index)),
});

export function weightsOf(model: ModelProto): Map<string, Dense> {
  return new Map(
    graphOf(model).initializer.map((tensor) => [
      tensor.name,
      { dims: tensorDims(tensor), data: Array.from(tensorValues(tensor), Number) },
    ]),
  );
}

/** Mean softmax cross-entropy of the model's `logits` over all examples. */
export function referenceLoss(model: ModelProto, weights: ReadonlyMap<string, Dense>, examples: Examples): number {
  const graph = graphOf(model);
  const input = graph.input[0];
  const exampleDims = (input?.type?.value.case === 'tensorType' ? (input.type.value.value.shape?.dim ?? []) : [])
    .slice(1)
    .map(({ value }) => Number(value.value ?? 0));
  const values = new Map(weights);
  values.set(input?.name ?? '', { dims: [examples.count, ...exampleDims], data: Array.from(examples.features) });
  for (const node of graph.node) {
    const inputs = node.input.map((name) => values.get(name) ?? { dims: [], data: [NaN] });
    if (node.opType !== 'Softmax') values.set(node.output[0] ?? '', compute(node, inputs));
  }
  const { data, dims } = values.get('logits') ?? { dims: [0, 0], data: [] };
  const classes = dims[1] ?? 0;
  let loss = 0;
  for (let row = 0; row < examples.count; row++) {
    const scores = data.slice(row * classes, (row + 1) * classes);
    const highest = Math.max(...scores);
    const logSum = highest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - highest), 0));
    loss += (logSum - (scores[examples.labels[row] ?? 0] ?? NaN)) / examples.count;
  }
  return loss;
}

function compute(node: NodeProto, inputs: readonly Dense[]): Dense {
  const [a = { dims: [], data: [] }, b = { dims: [], data: [] }, c] = inputs;
  switch (node.opType) {
    case 'Gemm': {
      const left = intAttribute(node, 'transA', 0) ? transpose(a) : a;
      const right = intAttribute(node, 'transB', 0) ? transpose(b) : b;
      const multiplied = multiply(left, right);
      const alpha = floatAttribute(node, 'alpha', 1);
      const beta = floatAttribute(node, 'beta', 1);
      const scaled = dense(multiplied.dims, (index) => alpha * (multiplied.data[index] ?? NaN));
      return c ? pairwise(scaled, c, (x, y) => x + beta * y) : scaled;
    }
    case 'MatMul':
      return multiply(a, b);
    case 'Add':
      return pairwise(a, b, (x, y) => x + y);
    case 'Sub':
      return pairwise(a, b, (x, y) => x - y);
    case 'Mul':
      return pairwise(a, b, (x, y) => x * y);
    case 'Div':
      return pairwise(a, b, (x, y) => x / y);
    case 'Relu':
      return dense(a.dims, (index) => Math.max(0, a.data[index] ?? NaN));
    case 'Identity':
      return a;
    case 'Flatten':
    case 'Reshape':
      return { dims: [a.dims[0] ?? 0, product(a.dims.slice(1))], data: a.data };
    default:
      throw new Error(`the reference does not know ${node.opType}`);
  }
}

function transpose({ dims: [rows = 0, columns = 0], data }: Dense): Dense {
  return dense([columns, rows], (index) => data[(index % rows) * columns + Math.floor(index / rows)] ?? NaN);
}

function multiply(a: Dense, b: Dense): Dense {
  const [rows = 0, inner = 0] = a.dims;
  const columns = b.dims[1] ?? 0;
  return dense([rows, columns], (index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (a.data[row * inner + k] ?? NaN) * (b.data[k * columns + column] ?? NaN);
    return sum;
  });
}

function pairwise(a: Dense, b: Dense, operate: (x: number, y: number) => number): Dense {
  const rank = Math.max(a.dims.length, b.dims.length);
  const padded = (dims: readonly number[]) => [...new Array<number>(rank - dims.length).fill(1), ...dims];
  const [left, right] = [padded(a.dims), padded(b.dims)];
  const dims = left.map((dim, axis) => Math.max(dim, right[axis] ?? 1));
  const pick = (value: Dense, own: readonly number[], index: number): number => {
    let rest = index;
    let offset = 0;
    let stride = 1;
    for (let axis = rank - 1; axis >= 0; axis--) {
      const size = dims[axis] ?? 1;
      const ownSize = own[axis] ?? 1;
      offset += (ownSize === 1 ? 0 : rest % size) * stride;
      stride *= ownSize;
      rest = Math.floor(rest / size);
    }
    return value.data[offset] ?? NaN;
  };
  return dense(dims, (index) => operate(pick(a, left, index), pick(b, right, index)));
}
