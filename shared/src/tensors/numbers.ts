import { fromFloat16 } from './float16.js';
import type { NumericTensor } from './tensor.js';

/** The elements as numbers, row-major: floats as they lie there, without a copy. Integers beyond 2^53 lose their last digits. */
export function numbersOf({ datatype, data }: NumericTensor): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  if (datatype === 'FP16') return Float64Array.from(data as Uint16Array, fromFloat16);
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}
