import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import { elementsOf, shapeFits, type TensorMap } from '../tensors/tensor.js';

/** Holds a request against the signed signature, so that the runtime only sees inputs that it can take. @throws ServeError REQUEST_INVALID */
export function checkInputs({ model, variant }: InstalledModel, inputs: TensorMap): void {
  const refuse = (why: string): ServeError =>
    new ServeError('REQUEST_INVALID', `${model}: ${why}.`, {
      remedy: `Read the signature with GET /v2/models/${model}.`,
    });
  const { inputs: signature } = variant.signature;
  const unknown = Object.keys(inputs).find((name) => !signature.some((input) => input.name === name));
  if (unknown !== undefined) throw refuse(`there is no input ${JSON.stringify(unknown.slice(0, 200))}`);
  for (const { name, datatype, shape } of signature) {
    const tensor = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
    if (!tensor) throw refuse(`the input "${name}" is missing`);
    if (tensor.datatype !== datatype) throw refuse(`the input "${name}" must be ${datatype}, not ${tensor.datatype}`);
    if (!shapeFits(tensor.shape, shape)) {
      throw refuse(
        `the input "${name}" must have the shape [${shape.join(', ')}] (-1: any), not [${tensor.shape.join(', ')}]`,
      );
    }
    if (tensor.data.length !== elementsOf(tensor.shape)) {
      throw refuse(
        `the input "${name}" holds ${tensor.data.length} elements for the shape [${tensor.shape.join(', ')}]`,
      );
    }
  }
}
