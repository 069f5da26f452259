import { isNumeric, numbersOf } from '@drover/shared/tensors';
import type { InstalledModel } from '../../update/ports.js';
import { hasBatchAxis } from '../scheduling/batch.js';
import { elementsOf, type ModelTensor } from '../tensors/tensor.js';
import { invalid } from './invalid.js';

/** What is read of a model for it. */
export type Classifying = Pick<InstalledModel, 'manifest' | 'variant'>;

/** Before anything is run. @throws ServeError REQUEST_INVALID */
export function demandClassifiable({ variant }: Classifying, name: string): void {
  const datatype = variant.signature.outputs.find((output) => output.name === name)?.datatype;
  if (datatype === 'BYTES' || datatype === 'BOOL')
    throw invalid(`the output ${JSON.stringify(name)} is ${datatype}, which cannot be classified`);
}

/**
 * The highest elements of an output in place of the output (Triton's classification extension): strings `value:index[:label]`, of shape [batch, count] where the model has a
 * batch axis, else [count], with the index within a row, or within the whole output. Values are written as C++ writes them (std::to_string): fractions with six decimals. The first
 * of equal elements comes first; Triton leaves that open.
 */
export function classified(
  { manifest: { task }, variant }: Classifying,
  name: string,
  tensor: ModelTensor,
  most: number,
): ModelTensor {
  if (!isNumeric(tensor)) throw invalid(`the output ${JSON.stringify(name)} holds strings`);
  const isBatch = hasBatchAxis(variant.signature);
  const rows = isBatch ? (tensor.shape[0] ?? 0) : 1;
  const width = elementsOf(isBatch ? tensor.shape.slice(1) : tensor.shape);
  const count = Math.min(most, width);
  const labels = task.scores === name ? task.labels : undefined;
  const values = numbersOf(tensor);
  const data: string[] = [];
  for (let row = 0; row < rows; row++) {
    const first = row * width;
    for (const index of highest(values.subarray(first, first + width), count)) {
      const label = labels?.[index];
      // Whole numbers as they are stored: those of 64 bits keep all their digits.
      const element = tensor.data[first + index] ?? 0;
      const text = /^U?INT/.test(tensor.datatype) ? String(element) : toFixedSix(values[first + index] ?? NaN);
      data.push(label === undefined ? `${text}:${index}` : `${text}:${index}:${label}`);
    }
  }
  return { datatype: 'BYTES', shape: isBatch ? [rows, count] : [count], data };
}

/** Indices by falling value; what is no number comes last. */
function highest(values: Float32Array | Float64Array, count: number): number[] {
  const rank = (index: number) => {
    const value = values[index] ?? NaN;
    return Number.isNaN(value) ? -Infinity : value;
  };
  const byValue = (left: number, right: number) =>
    rank(left) === rank(right) ? left - right : rank(right) - rank(left);
  return Array.from(values, (_, index) => index)
    .sort(byValue)
    .slice(0, count);
}

/** printf's %f. */
function toFixedSix(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return `${sign}inf`;
  // Number.toFixed turns to exponents from 1e21 on; such numbers are whole.
  if (magnitude >= 1e21) return `${sign}${BigInt(magnitude)}.000000`;
  const parts = 128 * magnitude;
  // Odd parts of 128 lie halfway between two numbers of six decimals. C takes the even one, toFixed the larger.
  if (parts % 2 !== 1) return sign + magnitude.toFixed(6);
  const below = (BigInt(parts) * 15_625n - 1n) / 2n;
  const digits = String(below + (below % 2n)).padStart(7, '0');
  return `${sign}${digits.slice(0, -6)}.${digits.slice(-6)}`;
}
