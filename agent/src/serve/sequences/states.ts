import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TensorSignature, Variant } from '@drover/shared/manifest';
import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import { emptyTensor, fromBytes, type ModelTensor, type TensorMap } from '../tensors/tensor.js';

// The states of a recurrent model: inputs and outputs that no client sees (docs/protocol.md, section 9).

type WithStates = Pick<Variant, 'sequences'>;

export const stateInputs = ({ sequences }: WithStates): TensorSignature[] =>
  (sequences?.states ?? []).map(({ input: name, datatype, shape }) => ({ name, datatype, shape }));

export const stateOutputs = ({ sequences }: WithStates): TensorSignature[] =>
  (sequences?.states ?? []).map(({ output: name, datatype, shape }) => ({ name, datatype, shape }));

/** What every sequence begins with, by input. @throws ServeError MODEL_UNLOADABLE */
export async function initialStates({ model, variant, directory }: InstalledModel): Promise<TensorMap> {
  const initial: Record<string, ModelTensor> = {};
  for (const { input, datatype, initial: given } of variant.sequences?.states ?? []) {
    if (given.asset === undefined) {
      initial[input] = emptyTensor(datatype, given.shape);
      continue;
    }
    const file = join(directory, given.asset);
    const unreadable = (why: string, cause?: unknown) =>
      new ServeError('MODEL_UNLOADABLE', `What the state "${input}" of ${model} begins with ${why}.`, {
        remedy: 'Deploy the release again: its files on this device are incomplete.',
        where: file,
        cause,
      });
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw unreadable('cannot be read', cause);
    });
    const tensor = fromBytes(datatype, given.shape, new Uint8Array(bytes));
    if (!tensor) throw unreadable(`has ${bytes.length} bytes, which are not those of [${given.shape.join(', ')}]`);
    initial[input] = tensor;
  }
  return initial;
}
