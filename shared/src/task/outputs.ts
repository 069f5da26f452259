import { isNumeric, numbersOf, type Datatype, type TensorMap, type TensorSignature } from '../tensors/index.js';
import { outputUnfit, taskUnfit } from './errors.js';

/** An output as numbers, row-major. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** @throws TaskError TASK_OUTPUT_UNFIT */
export function readOutput(outputs: TensorMap, name: string): Numbers {
  const tensor = outputs[name];
  if (!tensor) throw outputUnfit(name, 'the model did not answer with it');
  if (!isNumeric(tensor)) throw outputUnfit(name, 'it holds strings');
  return { shape: tensor.shape, data: numbersOf(tensor) };
}

const FLOATS: readonly Datatype[] = ['FP16', 'FP32', 'FP64'];

/** @throws TaskError TASK_UNFIT where no output has this name, or not numbers, or (`floats`) not fractions */
export function demandOutput(
  signature: readonly TensorSignature[],
  name: string,
  kind: 'numbers' | 'floats' = 'numbers',
): TensorSignature {
  const found = signature.find((output) => output.name === name);
  const names = signature.map((output) => `"${output.name}"`).join(', ');
  if (!found) throw taskUnfit(`there is no output "${name}"; there are ${names}`);
  const { datatype } = found;
  if (kind === 'floats' ? FLOATS.includes(datatype) : datatype !== 'BYTES' && datatype !== 'BOOL') return found;
  throw taskUnfit(`the output "${name}" is ${datatype}, which holds no scores or values`);
}

/** The stated length of an axis (negative: from the end); undefined where it is variable, or the file does not state the shape ([-1]). */
export function statedAxis({ shape }: TensorSignature, axis: number): number | undefined {
  const length = shape.at(axis);
  return length === -1 ? undefined : length;
}
