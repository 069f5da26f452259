import {
  doubleTensor,
  floatTensor,
  int64Tensor,
  node,
  type AttributeValue,
  type NodeProto,
  type TensorProto,
} from '@drover/shared/onnx';

/** Axis sizes; −1 is the batch. */
export type Shape = readonly number[];

/**
 * Collects the nodes that training adds. All names begin with a prefix that no name of the model has. Operators whose form depends on the
 * operator set are written for the model's own, so that its forward nodes can be taken over unchanged.
 */
export class GraphWriter {
  readonly nodes: NodeProto[] = [];
  readonly constants: TensorProto[] = [];
  readonly #constantNames = new Map<string, string>();
  readonly #prefix: string;
  readonly #opset: number;
  #counter = 0;

  constructor({ prefix, opset }: { readonly prefix: string; readonly opset: number }) {
    this.#prefix = prefix;
    this.#opset = opset;
  }

  named(name: string): string {
    return `${this.#prefix}${name}`;
  }

  /** Adds a node with one output and returns the output's name. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output?: string,
  ): string {
    const name = output ?? this.named(`${opType}_${this.#counter++}`);
    this.nodes.push(node(opType, inputs, [name], attributes));
    return name;
  }

  scalar(value: number): string {
    return this.#constant(`f32:${value}`, (name) => floatTensor(name, [], Float32Array.of(value)));
  }

  double(value: number): string {
    return this.#constant(`f64:${value}`, (name) => doubleTensor(name, [], Float64Array.of(value)));
  }

  integers(values: readonly number[]): string {
    return this.#constant(`i64:${values.join(',')}`, (name) => int64Tensor(name, [values.length], values));
  }

  integer(value: number): string {
    return this.#constant(`i64 scalar:${value}`, (name) => int64Tensor(name, [], [value]));
  }

  /** From operator set 13 on the axes are an input. */
  reduceSum(value: string, axes: readonly number[], keepdims: boolean): string {
    const keep = { keepdims: { int: keepdims ? 1 : 0 } };
    if (this.#opset >= 13) return this.emit('ReduceSum', [value, this.integers(axes)], keep);
    return this.emit('ReduceSum', [value], { axes: { ints: axes }, ...keep });
  }

  reshape(value: string, shape: Shape): string {
    return this.emit('Reshape', [value, this.integers(shape)]);
  }

  /** factor · A′·B′. Before operator set 11, Gemm has no form without a third matrix. */
  product(left: string, right: string, { transA = false, transB = false, factor = 1 } = {}): string {
    const attributes = { transA: { int: transA ? 1 : 0 }, transB: { int: transB ? 1 : 0 }, alpha: { float: factor } };
    return this.emit('Gemm', this.#opset >= 11 ? [left, right] : [left, right, this.scalar(0)], attributes);
  }

  scaled(value: string, factor: number): string {
    return factor === 1 ? value : this.emit('Mul', [value, this.scalar(factor)]);
  }

  #constant(key: string, make: (name: string) => TensorProto): string {
    const known = this.#constantNames.get(key);
    if (known !== undefined) return known;
    const name = this.named(`constant_${this.#constantNames.size}`);
    this.#constantNames.set(key, name);
    this.constants.push(make(name));
    return name;
  }
}
