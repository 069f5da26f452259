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
  const refuse = (why: string, cause?: unknown) => invalid(`the input ${JSON.stringify(name)} ${why}`, cause);
  if (!isDatatype(datatype)) throw refuse(`has the datatype ${JSON.stringify(datatype)}`);
  let tensor: ModelTensor | undefined;
  try {
    tensor = fromBytes(datatype, shape, bytes);
  } catch (cause) {
    throw refuse('has a string that is no UTF-8', cause);
  }
  if (tensor) return tensor;
  throw refuse(
    `holds ${bytes.length} bytes, which are not the ${elementsOf(shape)} elements of its shape [${shape.join(', ')}]`,
  );
}
