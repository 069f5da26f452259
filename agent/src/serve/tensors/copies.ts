import { isNumeric, type TensorMap } from './tensor.js';

/** A run may move its inputs away: whoever needs them a second time takes a copy first. */
export const copyOf = (tensors: TensorMap): TensorMap =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [
      name,
      isNumeric(tensor) ? { ...tensor, data: tensor.data.slice() } : tensor,
    ]),
  );

/** Of strings their characters. */
export const bytesIn = (tensors: TensorMap): number =>
  Object.values(tensors).reduce(
    (sum, tensor) =>
      sum + (isNumeric(tensor) ? tensor.data.byteLength : tensor.data.reduce((total, { length }) => total + length, 0)),
    0,
  );
