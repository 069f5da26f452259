export { Datatype } from './datatype.js';
export { bytesToStrings, stringsToBytes } from './byte-strings.js';
export { fromFloat16, toFloat16 } from './float16.js';
export { numbersOf } from './numbers.js';
export { TensorSignature } from './signature.js';
export { isWithin, Tolerance } from './tolerance.js';
export {
  allocate,
  bytesPerElement,
  DATATYPES,
  elementsOf,
  emptyTensor,
  fromBytes,
  isDatatype,
  isNumeric,
  MAX_RANK,
  shapeFits,
  toBytes,
  transferables,
  viewOf,
  type BytesTensor,
  type ModelTensor,
  type NumericDatatype,
  type NumericTensor,
  type TensorData,
  type TensorMap,
} from './tensor.js';
