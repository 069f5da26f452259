import { create } from '@bufbuild/protobuf';
import { ELEMENT_TYPES, toDatatype } from './element-types.js';
import { OnnxError } from './errors.js';
import { TensorProtoSchema, type TensorProto } from './generated/onnx_pb.js';

/** FP16 comes as its bits in a Uint16Array, BOOL as 0 and 1 in a Uint8Array. */
export type TensorValues =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A FP32 tensor of row-major `values`. @throws OnnxError ONNX_TENSOR_INVALID */
export function floatTensor(name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return rawTensor(name, ELEMENT_TYPES.FP32, dims, values);
}

/** A FP64 tensor of row-major `values`. @throws OnnxError ONNX_TENSOR_INVALID */
export function doubleTensor(name: string, dims: readonly number[], values: Float64Array): TensorProto {
  return rawTensor(name, ELEMENT_TYPES.FP64, dims, values);
}

/** An INT64 tensor of row-major `values`. @throws OnnxError ONNX_TENSOR_INVALID */
export function int64Tensor(name: string, dims: readonly number[], values: readonly number[]): TensorProto {
  return rawTensor(name, ELEMENT_TYPES.INT64, dims, BigInt64Array.from(values, BigInt));
}

function rawTensor(name: string, dataType: number, dims: readonly number[], values: TensorValues): TensorProto {
  const expected = dims.reduce((product, dim) => product * dim, 1);
  if (expected !== values.length)
    throw invalid(name, `[${dims.join(', ')}] needs ${expected} elements, not ${values.length}`);
  return create(TensorProtoSchema, {
    name,
    dataType,
    dims: dims.map(BigInt),
    // ONNX raw data is little-endian, and so is every platform that Node and ONNX Runtime support. Copied, so that the tensor owns its bytes.
    rawData: new Uint8Array(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  });
}

/** Dimensions as numbers. @throws OnnxError ONNX_TENSOR_INVALID for a negative or absurd one */
export function tensorDims(tensor: TensorProto): number[] {
  const dims = tensor.dims.map(Number);
  const elements = dims.reduce((product, dim) => product * dim, 1);
  if (dims.some((dim) => dim < 0) || !Number.isSafeInteger(elements)) {
    throw invalid(tensor.name, `the dimensions [${dims.join(', ')}] are impossible`);
  }
  return dims;
}

export const tensorElements = (tensor: TensorProto): number =>
  tensorDims(tensor).reduce((product, dim) => product * dim, 1);

const externalLocation = 1;
export const isExternal = (tensor: TensorProto): boolean =>
  tensor.dataLocation === externalLocation || tensor.externalData.length > 0;

/**
 * The elements of a tensor, row-major, in memory of their own: raw data may start at any byte of the file, typed arrays may not.
 *
 * @throws OnnxError ONNX_UNSUPPORTED_TYPE (strings too), ONNX_TENSOR_INVALID, ONNX_EXTERNAL_DATA
 */
export function tensorValues(tensor: TensorProto): TensorValues {
  const where = `the tensor "${tensor.name}"`;
  if (isExternal(tensor)) throw externalData(tensor.name);
  const elements = tensorElements(tensor);
  const datatype = toDatatype(tensor.dataType, where);
  const raw = tensor.rawData.length > 0 ? new Uint8Array(tensor.rawData).buffer : undefined;
  const read = readers[datatype];
  if (read === undefined) {
    throw new OnnxError('ONNX_UNSUPPORTED_TYPE', `${where} holds strings, which are not numbers.`, {
      remedy: 'Use this tensor as labels, not as weights.',
    });
  }
  let values: TensorValues;
  try {
    values = raw === undefined ? read.listed(tensor) : read.raw(raw);
  } catch (cause) {
    throw invalid(tensor.name, 'the raw data do not divide into elements', cause);
  }
  if (values.length !== elements)
    throw invalid(tensor.name, `${values.length} elements where the dimensions say ${elements}`);
  return values;
}

interface Reader {
  readonly raw: (bytes: ArrayBuffer) => TensorValues;
  /** Which list carries which type: onnx.proto, comments of TensorProto. */
  readonly listed: (tensor: TensorProto) => TensorValues;
}

const readers: Partial<Record<keyof typeof ELEMENT_TYPES, Reader>> = {
  FP32: { raw: (bytes) => new Float32Array(bytes), listed: (tensor) => Float32Array.from(tensor.floatData) },
  FP64: { raw: (bytes) => new Float64Array(bytes), listed: (tensor) => Float64Array.from(tensor.doubleData) },
  FP16: { raw: (bytes) => new Uint16Array(bytes), listed: (tensor) => Uint16Array.from(tensor.int32Data) },
  INT8: { raw: (bytes) => new Int8Array(bytes), listed: (tensor) => Int8Array.from(tensor.int32Data) },
  UINT8: { raw: (bytes) => new Uint8Array(bytes), listed: (tensor) => Uint8Array.from(tensor.int32Data) },
  BOOL: { raw: (bytes) => new Uint8Array(bytes), listed: (tensor) => Uint8Array.from(tensor.int32Data) },
  INT16: { raw: (bytes) => new Int16Array(bytes), listed: (tensor) => Int16Array.from(tensor.int32Data) },
  UINT16: { raw: (bytes) => new Uint16Array(bytes), listed: (tensor) => Uint16Array.from(tensor.int32Data) },
  INT32: { raw: (bytes) => new Int32Array(bytes), listed: (tensor) => Int32Array.from(tensor.int32Data) },
  INT64: { raw: (bytes) => new BigInt64Array(bytes), listed: (tensor) => BigInt64Array.from(tensor.int64Data) },
  UINT32: { raw: (bytes) => new Uint32Array(bytes), listed: (tensor) => Uint32Array.from(tensor.uint64Data, Number) },
  UINT64: { raw: (bytes) => new BigUint64Array(bytes), listed: (tensor) => BigUint64Array.from(tensor.uint64Data) },
};

function invalid(name: string, why: string, cause?: unknown): OnnxError {
  return new OnnxError('ONNX_TENSOR_INVALID', `The tensor "${name}" cannot be read: ${why}.`, {
    remedy: 'Export the model again.',
    where: name,
    cause,
  });
}

export function externalData(name: string): OnnxError {
  return new OnnxError('ONNX_EXTERNAL_DATA', `The tensor "${name}" keeps its data in another file.`, {
    remedy: 'Save the model as one file (in Python: onnx.save_model(model, path, save_as_external_data=False)).',
    where: name,
  });
}
