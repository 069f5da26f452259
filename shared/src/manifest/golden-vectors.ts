import { Type, type Static } from 'typebox';
import { Datatype } from '../tensors/index.js';
import { formatProblems, parseJsonBytes, validate } from '../validation/index.js';
import { ManifestError } from './errors.js';

const strict = { additionalProperties: false } as const;

/** `data` is the tensor's little-endian bytes in base64, so that floats survive bit for bit. */
const GoldenTensorSchema = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    datatype: Datatype,
    shape: Type.Array(Type.Integer({ minimum: 0 }), { maxItems: 16 }),
    data: Type.String(),
  },
  strict,
);
const GoldenVectorsSchema = Type.Object(
  {
    format: Type.Literal('drover.golden/1'),
    vectors: Type.Array(
      Type.Object({ inputs: Type.Array(GoldenTensorSchema), outputs: Type.Array(GoldenTensorSchema) }, strict),
      { minItems: 1, maxItems: 1000 },
    ),
  },
  strict,
);

/** One tensor of a golden vector: little-endian bytes, row-major. */
export interface GoldenTensor {
  readonly name: string;
  readonly datatype: Static<typeof Datatype>;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Inputs and the outputs that the publisher saw for them. */
export interface GoldenVector {
  readonly inputs: readonly GoldenTensor[];
  readonly outputs: readonly GoldenTensor[];
}

export function encodeGoldenVectors(vectors: readonly GoldenVector[]): Uint8Array {
  const toJson = ({ bytes, ...rest }: GoldenTensor) => ({ ...rest, data: Buffer.from(bytes).toString('base64') });
  const document = {
    format: 'drover.golden/1',
    vectors: vectors.map(({ inputs, outputs }) => ({ inputs: inputs.map(toJson), outputs: outputs.map(toJson) })),
  };
  return Buffer.from(JSON.stringify(document));
}

/** @throws ManifestError GOLDEN_VECTORS_INVALID */
export function decodeGoldenVectors(bytes: Uint8Array): GoldenVector[] {
  const refuse = (why: string, cause?: unknown) =>
    new ManifestError('GOLDEN_VECTORS_INVALID', `The golden vectors cannot be read: ${why}.`, {
      remedy: 'Publish the release again; `drover model publish` makes them from sample inputs.',
      cause,
    });
  const json = parseJsonBytes(bytes, refuse);
  const document = validate(GoldenVectorsSchema, json, (problems) => refuse(formatProblems(problems)));
  const fromJson = ({ data, ...rest }: Static<typeof GoldenTensorSchema>): GoldenTensor => ({
    ...rest,
    // A fresh buffer: typed-array views need aligned bytes, and small Buffers share one pool.
    bytes: new Uint8Array(Buffer.from(data, 'base64')),
  });
  return document.vectors.map(({ inputs, outputs }) => ({
    inputs: inputs.map(fromJson),
    outputs: outputs.map(fromJson),
  }));
}
