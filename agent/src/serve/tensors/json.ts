import { ServeError } from '../errors.js';
import {
  allocate,
  DATATYPES,
  fromFloat16,
  isDatatype,
  toFloat16,
  type ModelTensor,
  type NumericDatatype,
  type TensorData,
} from './tensor.js';

const INTEGER_BOUNDS: Partial<Record<NumericDatatype, readonly [number, number]>> = {
  UINT8: [0, 2 ** 8 - 1],
  UINT16: [0, 2 ** 16 - 1],
  UINT32: [0, 2 ** 32 - 1],
  UINT64: [0, Number.MAX_SAFE_INTEGER],
  INT8: [-(2 ** 7), 2 ** 7 - 1],
  INT16: [-(2 ** 15), 2 ** 15 - 1],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

const refuse = (input: string, why: string): ServeError =>
  new ServeError('REQUEST_INVALID', `The input ${JSON.stringify(input)} ${why}.`, {
    remedy: 'Send row-major data, flat or nested, that fits its shape and datatype (Open Inference Protocol v2).',
  });

/**
 * Reads the JSON form of one tensor: `data` flat or nested, row-major. The number of elements is held against the shape before anything is allocated.
 *
 * @throws ServeError REQUEST_INVALID
 */
export function readTensor(name: string, datatype: string, shape: readonly number[], data: unknown): ModelTensor {
  if (!isDatatype(datatype)) {
    throw refuse(name, `has the datatype ${JSON.stringify(datatype)}; there are ${DATATYPES.join(', ')}`);
  }
  if (!Array.isArray(data)) throw refuse(name, 'has no array as its data');
  const flat = Array.isArray(data[0]) ? flatten(name, data, shape) : (data as unknown[]);
  const elements = shape.reduce((product, axis) => product * axis, 1);
  if (flat.length !== elements)
    throw refuse(name, `holds ${flat.length} elements, its shape [${shape.join(', ')}] asks for ${elements}`);
  if (datatype === 'BYTES') return { datatype, shape, data: asStrings(name, flat) };
  return { datatype, shape, data: convert(name, datatype, flat) };
}

function asStrings(name: string, values: readonly unknown[]): string[] {
  return values.map((value, index) => {
    if (typeof value === 'string') return value;
    throw refuse(name, `has an element ${index} that is no string`);
  });
}

/** Rows are compared with the shape level by level; recursion is bounded by the rank, at most 16. */
function flatten(name: string, data: readonly unknown[], shape: readonly number[]): unknown[] {
  const flat: unknown[] = [];
  const walk = (level: readonly unknown[], axis: number): void => {
    if (level.length !== shape[axis]) {
      throw refuse(name, `is nested otherwise than its shape [${shape.join(', ')}] says`);
    }
    for (const entry of level) {
      if (axis === shape.length - 1) flat.push(entry);
      else if (Array.isArray(entry)) walk(entry, axis + 1);
      else throw refuse(name, `is nested less deeply than its shape [${shape.join(', ')}] says`);
    }
  };
  walk(data, 0);
  return flat;
}

function convert(name: string, datatype: NumericDatatype, values: readonly unknown[]): TensorData {
  const data = allocate(datatype, values.length);
  const bounds = INTEGER_BOUNDS[datatype];
  for (let index = 0; index < values.length; index++) {
    const value = datatype === 'BOOL' ? asBit(values[index]) : values[index];
    if (typeof value !== 'number') throw refuse(name, `has an element ${index} that is no ${datatype}`);
    if (bounds && !(Number.isInteger(value) && value >= bounds[0] && value <= bounds[1])) {
      throw refuse(
        name,
        `has an element ${index} that is no ${datatype} (integers from ${bounds[0]} to ${bounds[1]}, which JSON carries exactly)`,
      );
    }
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[index] = BigInt(value);
    else {
      const bits = datatype === 'FP16' ? toFloat16(value) : undefined;
      data[index] = bits ?? value;
      if (!Number.isFinite(bits === undefined ? data[index] : fromFloat16(bits)))
        throw refuse(name, `has an element ${index} beyond the range of ${datatype}`);
    }
  }
  return data;
}

const asBit = (value: unknown): unknown => (value === true ? 1 : value === false ? 0 : undefined);

/** The JSON text of a flat, row-major data array. 64-bit integers keep all their digits; NaN and infinities, which JSON lacks, become null. */
export function dataToJson({ datatype, data }: ModelTensor): string {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return `[${data.join(',')}]`;
  if (datatype === 'BOOL') return JSON.stringify(Array.from(data as Uint8Array, Boolean));
  if (datatype === 'FP16') return JSON.stringify(Array.from(data as Uint16Array, fromFloat16));
  return JSON.stringify(Array.from<unknown>(data));
}
