import type { Datatype } from '../manifest/index.js';
import { OnnxError } from './errors.js';

/** TensorProto.DataType (onnx.proto) by Open Inference Protocol datatype. */
export const ELEMENT_TYPES = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
} as const satisfies Record<Datatype, number>;

const datatypes = new Map<number, Datatype>(
  Object.entries(ELEMENT_TYPES).map(([datatype, elementType]) => [elementType, datatype as Datatype]),
);

/** @throws OnnxError ONNX_UNSUPPORTED_TYPE for what the protocol has no name for: bfloat16, complex, 8- and 4-bit floats. */
export function toDatatype(elementType: number, where: string): Datatype {
  const datatype = datatypes.get(elementType);
  if (datatype !== undefined) return datatype;
  throw new OnnxError(
    'ONNX_UNSUPPORTED_TYPE',
    `${where} has the element type ${elementType}, which cannot be served.`,
    {
      remedy: 'Cast it to float32, float16, float64, bool, string or an 8- to 64-bit integer in the exported graph.',
      where,
    },
  );
}
