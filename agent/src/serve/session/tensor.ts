import type { Datatype } from '@drover/shared/manifest';

/** The datatypes that are served; the Open Inference Protocol's FP16 and BYTES are not yet. */
export const SERVED_DATATYPES = {
  BOOL: { runtime: 'bool', array: Uint8Array },
  UINT8: { runtime: 'uint8', array: Uint8Array },
  UINT16: { runtime: 'uint16', array: Uint16Array },
  UINT32: { runtime: 'uint32', array: Uint32Array },
  UINT64: { runtime: 'uint64', array: BigUint64Array },
  INT8: { runtime: 'int8', array: Int8Array },
  INT16: { runtime: 'int16', array: Int16Array },
  INT32: { runtime: 'int32', array: Int32Array },
  INT64: { runtime: 'int64', array: BigInt64Array },
  FP32: { runtime: 'float32', array: Float32Array },
  FP64: { runtime: 'float64', array: Float64Array },
} as const;

export type ServedDatatype = keyof typeof SERVED_DATATYPES;
export type TensorData = InstanceType<(typeof SERVED_DATATYPES)[ServedDatatype]['array']>;

/** A tensor between protocol and runtime: row-major; its data owns its whole buffer, so that it can be transferred between threads. */
export interface ModelTensor {
  readonly datatype: ServedDatatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export type TensorMap = Readonly<Record<string, ModelTensor>>;

export const isServedDatatype = (datatype: Datatype): datatype is ServedDatatype =>
  Object.hasOwn(SERVED_DATATYPES, datatype);

export const allocate = (datatype: ServedDatatype, length: number): TensorData =>
  new SERVED_DATATYPES[datatype].array(length);

/** A view of little-endian bytes; every platform that ONNX Runtime ships for is little-endian. Copies where the bytes are not aligned. */
export function viewOf(datatype: ServedDatatype, bytes: Uint8Array): TensorData {
  const { array } = SERVED_DATATYPES[datatype];
  const aligned = bytes.byteOffset % array.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  const buffer = aligned.buffer as ArrayBuffer;
  return new array(buffer, aligned.byteOffset, Math.floor(aligned.byteLength / array.BYTES_PER_ELEMENT));
}

export const elementsOf = (shape: readonly number[]): number => shape.reduce((product, axis) => product * axis, 1);

/** Does a concrete shape fit a signature's, where −1 is any length of at least 1? */
export const shapeFits = (shape: readonly number[], signature: readonly number[]): boolean =>
  shape.length === signature.length &&
  signature.every((axis, index) => (axis === -1 ? (shape[index] ?? 0) >= 1 : shape[index] === axis));

/** Buffers that may move to another thread with their tensors. */
export const transferables = (tensors: TensorMap): ArrayBuffer[] => [
  ...new Set(
    Object.values(tensors)
      .filter(({ data }) => data.byteLength === data.buffer.byteLength)
      .map(({ data }) => data.buffer),
  ),
];
