import { stringsToBytes, type Datatype, type GoldenTensor, type GoldenVector } from '@drover/shared/manifest';
import { seededRandom } from '@drover/shared/statistics';
import { CliError } from '../errors.js';
import type { LoadedModel, Signature } from './model-run.js';
import type { Samples } from './samples.js';

const MAX_VECTORS = 16;
/** Fixed, so that the same model and samples always make the same release. */
const SEED = 20_240_501;

type InputSignature = Signature['inputs'][number];

/** Runs the model on spread-out samples, or on seeded noise where there are none, and records what it answers. */
export async function makeGoldenVectors(model: LoadedModel, samples: Samples | undefined): Promise<GoldenVector[]> {
  const inputs = samples ? rowsOf(model, samples) : noiseFor(model.signature.inputs);
  const vectors: GoldenVector[] = [];
  for (const input of inputs) vectors.push({ inputs: input, outputs: await model.run(input) });
  return vectors;
}

/** The one two-dimensional float input that samples can feed. @throws CliError CLI_SAMPLES_UNFIT */
export function sampleInput({ signature }: LoadedModel, samples: Samples): InputSignature {
  const [input, ...others] = signature.inputs;
  const [batch, width, ...rest] = input?.shape ?? [];
  const fits =
    input?.datatype === 'FP32' && others.length === 0 && rest.length === 0 && (width === samples.width || width === -1);
  if (input && fits && (batch === -1 || batch === 1)) return input;
  const shapes = signature.inputs
    .map(({ name, datatype, shape }) => `${name} ${datatype}[${shape.join(', ')}]`)
    .join('; ');
  throw new CliError('CLI_SAMPLES_UNFIT', `Rows of ${samples.width} numbers cannot be fed to the input ${shapes}.`, {
    remedy: 'Give samples for a model with one float32 input [batch, features], or publish without --samples.',
  });
}

export function rowTensor(input: InputSignature, samples: Samples, row: number): GoldenTensor {
  const values = samples.values.slice(row * samples.width, (row + 1) * samples.width);
  return { name: input.name, datatype: 'FP32', shape: [1, samples.width], bytes: new Uint8Array(values.buffer) };
}

function rowsOf(model: LoadedModel, samples: Samples): GoldenTensor[][] {
  const input = sampleInput(model, samples);
  const count = Math.min(MAX_VECTORS, samples.count);
  return Array.from({ length: count }, (_, index) => [
    rowTensor(input, samples, Math.floor((index * samples.count) / count)),
  ]);
}

function noiseFor(inputs: readonly InputSignature[]): GoldenTensor[][] {
  const random = seededRandom(SEED);
  return Array.from({ length: 4 }, () =>
    inputs.map(({ name, datatype, shape }) => {
      if (shape.slice(1).includes(-1)) {
        throw new CliError(
          'CLI_MODEL_AXES_VARIABLE',
          `The input "${name}" has variable axes besides the batch: [${shape.join(', ')}].`,
          {
            where: name,
            remedy: 'Give inputs with --samples, or export the model with fixed axes.',
          },
        );
      }
      const fixed = shape.map((axis) => (axis === -1 ? 1 : axis));
      const elements = fixed.reduce((product, axis) => product * axis, 1);
      return { name, datatype, shape: fixed, bytes: noise(datatype, elements, () => random.next()) };
    }),
  );
}

/** Floats in [0, 1), as normalised images and sensors are; integers small enough to be an index of nearly anything. */
function noise(datatype: Datatype, elements: number, uniform: () => number): Uint8Array {
  const bit = () => (uniform() < 0.5 ? 0 : 1);
  switch (datatype) {
    case 'FP32':
      return new Uint8Array(Float32Array.from({ length: elements }, uniform).buffer);
    // Bits of numbers from 0 to 1.
    case 'FP16':
      return new Uint8Array(Uint16Array.from({ length: elements }, () => Math.floor(uniform() * 0x3c00)).buffer);
    case 'BYTES':
      return stringsToBytes(Array.from({ length: elements }, () => String(bit())));
    case 'FP64':
      return new Uint8Array(Float64Array.from({ length: elements }, uniform).buffer);
    case 'INT64':
    case 'UINT64':
      return new Uint8Array(BigInt64Array.from({ length: elements }, () => BigInt(bit())).buffer);
    case 'INT32':
    case 'UINT32':
      return new Uint8Array(Int32Array.from({ length: elements }, bit).buffer);
    case 'INT16':
    case 'UINT16':
      return new Uint8Array(Int16Array.from({ length: elements }, bit).buffer);
    case 'INT8':
    case 'UINT8':
    case 'BOOL':
      return Uint8Array.from({ length: elements }, bit);
  }
}
