import { floatAttribute, intAttribute, tensorValues, type NodeProto, type TensorProto } from '@drover/shared/onnx';
import { broadcast, sumTo } from './broadcasting.js';
import type { GraphWriter, Shape } from './writer.js';

export interface Forward {
  readonly opset: number;
  /** @throws when the value is not known, which is a defect of the graph */
  readonly shapeOf: (value: string) => Shape;
  readonly constantOf: (value: string) => TensorProto | undefined;
}

export interface Backward {
  readonly writer: GraphWriter;
  readonly forward: Forward;
  /** Gradient of the loss by the node's output. */
  readonly gradient: string;
  /** Hands back the gradient by one input. `make` runs only where something trainable lies behind that input. */
  readonly give: (input: string, make: () => string) => void;
}

/** What training knows about one operator. Both functions throw an `Error` whose message says why a form of it is not supported. */
export interface OperatorRule {
  /** Shape of the (only) output. */
  readonly shape: (node: NodeProto, forward: Forward) => Shape;
  readonly backward: (node: NodeProto, backward: Backward) => void;
}

const input = (node: NodeProto, index: number): string => node.input[index] ?? '';
const output = (node: NodeProto): string => node.output[0] ?? '';

function matrix(forward: Forward, value: string): readonly [number, number] {
  const [rows, columns, ...rest] = forward.shapeOf(value);
  if (rows === undefined || columns === undefined || rest.length > 0) throw new Error(`"${value}" is no matrix`);
  return [rows, columns];
}

/** Y = alpha·A′·B′ + beta·C. Gradients: Magnus & Neudecker, "Matrix Differential Calculus", ch. 9, for each of the four transpositions. */
const gemm: OperatorRule = {
  shape: (node, forward) => {
    const a = matrix(forward, input(node, 0));
    const b = matrix(forward, input(node, 1));
    const transA = intAttribute(node, 'transA', 0) !== 0;
    const transB = intAttribute(node, 'transB', 0) !== 0;
    return [transA ? a[1] : a[0], transB ? b[0] : b[1]];
  },
  backward: (node, { writer, forward, gradient, give }) => {
    const [a, b, c] = [input(node, 0), input(node, 1), input(node, 2)];
    const transA = intAttribute(node, 'transA', 0) !== 0;
    const transB = intAttribute(node, 'transB', 0) !== 0;
    const factor = floatAttribute(node, 'alpha', 1);
    give(a, () =>
      transA
        ? writer.product(b, gradient, { transA: transB, transB: true, factor })
        : writer.product(gradient, b, { transB: !transB, factor }),
    );
    give(b, () =>
      transB
        ? writer.product(gradient, a, { transA: true, transB: transA, factor })
        : writer.product(a, gradient, { transA: !transA, factor }),
    );
    if (c === '') return;
    give(c, () => {
      const summed = sumTo(writer, gradient, forward.shapeOf(output(node)), forward.shapeOf(c));
      return writer.scaled(summed, floatAttribute(node, 'beta', 1));
    });
  },
};

const matMul: OperatorRule = {
  shape: (node, forward) => [matrix(forward, input(node, 0))[0], matrix(forward, input(node, 1))[1]],
  backward: (node, { writer, gradient, give }) => {
    const [a, b] = [input(node, 0), input(node, 1)];
    give(a, () => writer.product(gradient, b, { transB: true }));
    give(b, () => writer.product(a, gradient, { transA: true }));
  },
};

/** An element-wise operator of two broadcast inputs, by its two partial derivatives times the incoming gradient. */
function elementwise(
  left: (writer: GraphWriter, gradient: string, a: string, b: string) => string,
  right: (writer: GraphWriter, gradient: string, a: string, b: string) => string,
): OperatorRule {
  return {
    shape: (node, forward) => broadcast(forward.shapeOf(input(node, 0)), forward.shapeOf(input(node, 1))),
    backward: (node, { writer, forward, gradient, give }) => {
      const [a, b] = [input(node, 0), input(node, 1)];
      const from = forward.shapeOf(output(node));
      give(a, () => sumTo(writer, left(writer, gradient, a, b), from, forward.shapeOf(a)));
      give(b, () => sumTo(writer, right(writer, gradient, a, b), from, forward.shapeOf(b)));
    },
  };
}

const add = elementwise(
  (_, gradient) => gradient,
  (_, gradient) => gradient,
);
const sub = elementwise(
  (_, gradient) => gradient,
  (writer, gradient) => writer.emit('Neg', [gradient]),
);
const mul = elementwise(
  (writer, gradient, _, b) => writer.emit('Mul', [gradient, b]),
  (writer, gradient, a) => writer.emit('Mul', [gradient, a]),
);
const div = elementwise(
  (writer, gradient, _, b) => writer.emit('Div', [gradient, b]),
  (writer, gradient, a, b) => {
    const share = writer.emit('Div', [writer.emit('Mul', [gradient, a]), writer.emit('Mul', [b, b])]);
    return writer.emit('Neg', [share]);
  },
);

/** The gradient at exactly 0 is taken as 0, as everywhere. */
const relu: OperatorRule = {
  shape: (node, forward) => forward.shapeOf(input(node, 0)),
  backward: (node, { writer, gradient, give }) =>
    give(input(node, 0), () => {
      const open = writer.emit('Cast', [writer.emit('Greater', [output(node), writer.scalar(0)])], { to: { int: 1 } });
      return writer.emit('Mul', [gradient, open]);
    }),
};

const identity: OperatorRule = {
  shape: (node, forward) => forward.shapeOf(input(node, 0)),
  backward: (node, { gradient, give }) => give(input(node, 0), () => gradient),
};

const backToInputShape: OperatorRule['backward'] = (node, { writer, forward, gradient, give }) =>
  give(input(node, 0), () => writer.reshape(gradient, forward.shapeOf(input(node, 0))));

const flatten: OperatorRule = {
  shape: (node, forward) => {
    const shape = forward.shapeOf(input(node, 0));
    if (intAttribute(node, 'axis', 1) !== 1 || shape[0] !== -1) throw new Error('it flattens the batch axis too');
    return [-1, elements(shape.slice(1))];
  },
  backward: backToInputShape,
};

const reshape: OperatorRule = {
  shape: (node, forward) => {
    const from = forward.shapeOf(input(node, 0));
    const target = forward.constantOf(input(node, 1));
    if (target === undefined || from[0] !== -1)
      throw new Error('its shape is not constant, or its input has no batch axis');
    const wanted = Array.from(tensorValues(target), Number);
    const copied = wanted.map((size, axis) => (size === 0 ? (from[axis] ?? 0) : size));
    const row = elements(from.slice(1));
    const [batch, ...rest] = copied;
    if (batch === -1 && wanted[0] === 0 && rest.includes(-1)) {
      return [-1, ...rest.map((size) => (size === -1 ? row / elements(rest.filter((other) => other !== -1)) : size))];
    }
    if (batch === -1 && !rest.includes(-1) && elements(rest) === row) return [-1, ...rest];
    throw new Error('it does not keep the batch axis');
  },
  backward: backToInputShape,
};

const elements = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

/** The operators that training goes through. What only feeds the logits with constants is executed but needs no rule here. */
export const OPERATOR_RULES: ReadonlyMap<string, OperatorRule> = new Map([
  ['Gemm', gemm],
  ['MatMul', matMul],
  ['Add', add],
  ['Sub', sub],
  ['Mul', mul],
  ['Div', div],
  ['Relu', relu],
  ['Identity', identity],
  ['Flatten', flatten],
  ['Reshape', reshape],
]);
