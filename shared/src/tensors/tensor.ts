import { bytesToStrings, stringsToBytes } from './byte-strings.js';
import { Datatype } from './datatype.js';

/** How numbers lie in memory here. FP16 has no array of its own before Node 24: its bits are kept, and read by `float16.ts`. */
const ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const satisfies Record<Exclude<Datatype, 'BYTES'>, unknown>;

export type NumericDatatype = keyof typeof ARRAYS;
export type TensorData = InstanceType<(typeof ARRAYS)[NumericDatatype]>;

/** Row-major. The buffer of its data belongs to the request: it may be moved to another thread. */
export interface NumericTensor {
  readonly datatype: NumericDatatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** ONNX's strings are UTF-8, so these are, though the protocol allows any bytes. */
export interface BytesTensor {
  readonly datatype: 'BYTES';
  readonly shape: readonly number[];
  readonly data: readonly string[];
}

/** A tensor between protocol and runtime. */
export type ModelTensor = NumericTensor | BytesTensor;

export type TensorMap = Readonly<Record<string, ModelTensor>>;

export const DATATYPES: readonly string[] = Datatype.enum;

export const isDatatype = (text: string): text is Datatype => DATATYPES.includes(text);

/** Axes of a tensor at most, as in a manifest. */
export const MAX_RANK = 16;

export const isNumeric = (tensor: ModelTensor): tensor is NumericTensor => tensor.datatype !== 'BYTES';

export const bytesPerElement = (datatype: NumericDatatype): number => ARRAYS[datatype].BYTES_PER_ELEMENT;

export const allocate = (datatype: NumericDatatype, length: number): TensorData => new ARRAYS[datatype](length);

/** Zeros, or empty strings. */
export function emptyTensor(datatype: Datatype, shape: readonly number[]): ModelTensor {
  const elements = elementsOf(shape);
  if (datatype === 'BYTES') return { datatype, shape, data: new Array<string>(elements).fill('') };
  return { datatype, shape, data: allocate(datatype, elements) };
}

/** A view of little-endian bytes; every platform that ONNX Runtime ships for is little-endian. Copies where the bytes are not aligned. */
export function viewOf(datatype: NumericDatatype, bytes: Uint8Array): TensorData {
  const array = ARRAYS[datatype];
  const aligned = bytes.byteOffset % array.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  const buffer = aligned.buffer as ArrayBuffer;
  return new array(buffer, aligned.byteOffset, Math.floor(aligned.byteLength / array.BYTES_PER_ELEMENT));
}

/**
 * A tensor of its binary form: little-endian, row-major, without padding; each string after its length in four bytes (Triton's binary tensor extension).
 *
 * @returns undefined when the bytes are not as many elements as the shape says
 * @throws TypeError for a string that is no UTF-8
 */
export function fromBytes(datatype: Datatype, shape: readonly number[], bytes: Uint8Array): ModelTensor | undefined {
  const elements = elementsOf(shape);
  if (datatype === 'BYTES') {
    const data = bytesToStrings(bytes, elements);
    return data && { datatype, shape, data };
  }
  if (bytes.length !== elements * bytesPerElement(datatype)) return undefined;
  return { datatype, shape, data: viewOf(datatype, bytes) };
}

/** A view where it can be one. */
export function toBytes(tensor: ModelTensor): Uint8Array {
  if (!isNumeric(tensor)) return stringsToBytes(tensor.data);
  const { buffer, byteOffset, byteLength } = tensor.data;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

export const elementsOf = (shape: readonly number[]): number => shape.reduce((product, axis) => product * axis, 1);

/** Does a concrete shape fit a signature's, where −1 is any length of at least 1? */
export const shapeFits = (shape: readonly number[], signature: readonly number[]): boolean =>
  shape.length === signature.length &&
  signature.every((axis, index) => (axis === -1 ? (shape[index] ?? 0) >= 1 : shape[index] === axis));

/** Buffers that may move to another thread with their tensors: those that hold nothing else. */
export function transferables(tensors: TensorMap): ArrayBuffer[] {
  const used = new Map<ArrayBufferLike, number>();
  for (const tensor of Object.values(tensors)) {
    if (!isNumeric(tensor)) continue;
    const { buffer, byteLength } = tensor.data;
    used.set(buffer, (used.get(buffer) ?? 0) + byteLength);
  }
  return [...used].flatMap(([buffer, bytes]) =>
    buffer instanceof ArrayBuffer && bytes === buffer.byteLength ? [buffer] : [],
  );
}
