/** How the bytes of a chunk are to be understood. `int8` stands for all elements of one byte; everything else is `bytes`. */
export const ELEMENT_TYPES = ['bytes', 'float32', 'float16', 'bfloat16', 'int8'] as const;
export type ElementType = (typeof ELEMENT_TYPES)[number];

export const ELEMENT_BYTES: Readonly<Record<ElementType, number>> = {
  bytes: 1,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int8: 1,
};

/** TensorProto.DataType (onnx.proto): FLOAT, FLOAT16, BFLOAT16, INT8, UINT8. */
const ONNX_TYPES = new Map<number, ElementType>([
  [1, 'float32'],
  [10, 'float16'],
  [16, 'bfloat16'],
  [3, 'int8'],
  [2, 'int8'],
]);

export const elementTypeOf = (onnxDataType: number): ElementType => ONNX_TYPES.get(onnxDataType) ?? 'bytes';
