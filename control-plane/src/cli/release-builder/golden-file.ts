import { decodeGoldenVectors, type GoldenTensor, type GoldenVector, type Tolerance } from '@drover/shared/manifest';
import { agreement, agreesEnough, decoderFor, pooled, type Task } from '@drover/shared/task';
import { fromBytes, shapeFits, type TensorMap, type TensorSignature } from '@drover/shared/tensors';
import { CliError } from '../errors.js';
import { readFile } from '../files.js';
import type { LoadedModel } from './model-run.js';

export interface GoldenFileOptions {
  readonly file: string;
  readonly task: Task;
  readonly parity: Tolerance;
  /** How much has to agree where not every number is within the tolerance, by the measure of the task; all unless given. */
  readonly agreement?: number | undefined;
}

/**
 * Golden vectors whose answers come from elsewhere, such as from the framework that the model was trained in: shows that what was exported is what was trained.
 *
 * @throws CliError CLI_FILE_UNREADABLE, CLI_GOLDEN_UNFIT for other tensors than those of the model, CLI_GOLDEN_DIFFERS where it answers otherwise; ManifestError GOLDEN_VECTORS_INVALID
 */
export async function readGoldenFile(
  model: LoadedModel,
  { file, task, parity, agreement: share }: GoldenFileOptions,
): Promise<GoldenVector[]> {
  const vectors = decodeGoldenVectors(readFile(file));
  const pairs: { readonly expected: TensorMap; readonly actual: TensorMap }[] = [];
  for (const [index, { inputs, outputs }] of vectors.entries()) {
    const where = `${file}, vector ${index}`;
    toTensors('input', inputs, model.signature.inputs, where);
    const expected = toTensors('output', outputs, model.signature.outputs, where);
    const answered = await model.run(inputs);
    pairs.push({ expected, actual: toTensors('output', answered, model.signature.outputs, where) });
  }
  const compare = (by: Task) => {
    const decoder = decoderFor(by, model.signature.outputs);
    const each = pairs.map(({ expected, actual }) =>
      agreement(decoder.decode(expected), decoder.decode(actual), { tolerance: parity }),
    );
    return { ...pooled(each), measure: each[0]?.measure, kind: decoder.kind };
  };
  // As devices hold them against each other: number by number, and where that is not so, by the task.
  const elements = compare({ type: 'tensors' });
  if (elements.beyondTolerance === 0) return vectors;
  const byTask = compare(task);
  // Plain tensors have no measure but their elements.
  if (byTask.kind !== 'tensors' && agreesEnough(byTask, share)) return vectors;
  throw new CliError(
    'CLI_GOLDEN_DIFFERS',
    `The model answers otherwise here than the golden vectors say: ${elements.beyondTolerance} of ${elements.compared} numbers are beyond the tolerance, by up to ${elements.largestDifference}; by ${byTask.measure} ${byTask.value} of ${byTask.compared} agree.`,
    {
      where: file,
      remedy:
        'Look whether the exported model has the weights, the preprocessing and the mode (inference, not training) that made the file; or allow more with --tolerance or --agreement.',
    },
  );
}

function toTensors(
  kind: 'input' | 'output',
  tensors: readonly GoldenTensor[],
  signature: readonly TensorSignature[],
  where: string,
): TensorMap {
  const unfit = (why: string) =>
    new CliError('CLI_GOLDEN_UNFIT', `The golden vectors are not of this model: ${why}.`, {
      where,
      remedy: 'Each vector holds every input and every output of the model, as `drover model check FILE` shows them.',
    });
  const names = tensors.map(({ name }) => name);
  const missing = signature.find(({ name }) => !names.includes(name));
  if (missing) throw unfit(`the ${kind} "${missing.name}" is missing`);
  if (new Set(names).size < names.length) throw unfit(`an ${kind} is there twice`);
  return Object.fromEntries(
    tensors.map(({ name, datatype, shape, bytes }) => {
      const signed = signature.find((each) => each.name === name);
      if (!signed) throw unfit(`it has no ${kind} "${name}"`);
      const form = (type: string, axes: readonly number[]) => `${type}[${axes.join(', ')}]`;
      if (datatype !== signed.datatype || !shapeFits(shape, signed.shape))
        throw unfit(`"${name}" is ${form(datatype, shape)}, not ${form(signed.datatype, signed.shape)}`);
      const tensor = fromBytes(datatype, shape, bytes);
      if (!tensor) throw unfit(`"${name}" has ${bytes.length} bytes, which are not those of ${form(datatype, shape)}`);
      return [name, tensor];
    }),
  );
}
