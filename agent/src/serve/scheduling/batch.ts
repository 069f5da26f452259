import type { TensorSignature } from '@drover/shared/manifest';
import { allocate, elementsOf, isNumeric, type ModelTensor, type TensorMap } from '../tensors/tensor.js';

/** A model whose every input and output begins with an axis of any length: its rows may come from several requests. */
export const hasBatchAxis = (signature: {
  readonly inputs: readonly TensorSignature[];
  readonly outputs: readonly TensorSignature[];
}): boolean => [...signature.inputs, ...signature.outputs].every(({ shape }) => shape[0] === -1);

/** Rows of a request, where all of its inputs have as many; else undefined: it runs alone. */
export function rowsOf(inputs: TensorMap): number | undefined {
  const [first, ...others] = Object.values(inputs);
  const rows = first?.shape[0];
  return others.every(({ shape }) => shape[0] === rows) ? rows : undefined;
}

/** Whether the rows of two requests fit into one tensor: the same inputs, and all axes but the first. */
export function fitTogether(left: TensorMap, right: TensorMap): boolean {
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length &&
    names.every((name) => {
      const [one, other] = [left[name]?.shape ?? [], right[name]?.shape];
      return one.length === other?.length && one.every((axis, index) => index === 0 || axis === other[index]);
    })
  );
}

/** The rows of all, one request after the other. They have to fit together. */
export function joinRows(requests: readonly TensorMap[]): TensorMap {
  const [first = {}] = requests;
  if (requests.length === 1) return first;
  return Object.fromEntries(Object.keys(first).map((name) => [name, joined(requests.map((inputs) => inputs[name]))]));
}

function joined(parts: readonly (ModelTensor | undefined)[]): ModelTensor {
  const tensors = parts.filter((part) => part !== undefined);
  const [first] = tensors;
  if (!first) throw new Error('There is nothing to join.');
  const rows = tensors.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const shape = [rows, ...first.shape.slice(1)];
  if (!isNumeric(first)) {
    const data = tensors.flatMap((tensor) => (isNumeric(tensor) ? [] : [...tensor.data]));
    return { datatype: first.datatype, shape, data };
  }
  const data = allocate(first.datatype, elementsOf(shape));
  let offset = 0;
  for (const tensor of tensors) {
    data.set(tensor.data as never, offset);
    offset += tensor.data.length;
  }
  return { datatype: first.datatype, shape, data };
}

/** The opposite: each request's rows of the outputs. @returns undefined where an output does not have as many rows as went in */
export function splitRows(outputs: TensorMap, rows: readonly number[]): TensorMap[] | undefined {
  const total = rows.reduce((sum, each) => sum + each, 0);
  if (!Object.values(outputs).every(({ shape }) => shape[0] === total)) return undefined;
  if (rows.length === 1) return [outputs];
  let start = 0;
  return rows.map((count) => {
    const from = start;
    start += count;
    return Object.fromEntries(
      Object.entries(outputs).map(([name, tensor]) => [name, slicedRows(tensor, from, from + count)]),
    );
  });
}

function slicedRows(tensor: ModelTensor, from: number, to: number): ModelTensor {
  const width = elementsOf(tensor.shape.slice(1));
  const shape = [to - from, ...tensor.shape.slice(1)];
  if (!isNumeric(tensor)) return { ...tensor, shape, data: tensor.data.slice(from * width, to * width) };
  return { ...tensor, shape, data: tensor.data.subarray(from * width, to * width) };
}
