import { elementsOf, fromBytes, isDatatype, type ModelTensor } from '../tensors/tensor.js';
import { invalid } from './invalid.js';

export interface BinaryTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** An input that came as bytes. @throws ServeError REQUEST_INVALID */
export function binaryTensor({ name, datatype, shape, bytes }: BinaryTensor): ModelTensor {
  const quoted = JSON.stringify(name);
  if (!isDatatype(datatype)) throw invalid(`the input ${quoted} has the datatype ${JSON.stringify(datatype)}`);
  let tensor: ModelTensor | undefined;
  try {
    tensor = fromBytes(datatype, shape, bytes);
  } catch (cause) {
    throw invalid(`the input ${quoted} has a string that is no UTF-8`, cause);
  }
  if (tensor) return tensor;
  throw invalid(
    `the input ${quoted} holds ${bytes.length} bytes, which are not the ${elementsOf(shape)} elements of its shape [${shape.join(', ')}]`,
  );
}
