import { Type } from 'typebox';
import { formatProblems, parseJsonBytes, validate } from '../validation/index.js';
import { ManifestError } from './errors.js';

/** Labelled rows: `features` is row-major, count × width, float32; `labels[i]` is the class index of row i. */
export interface LabelledSamples {
  readonly features: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
  readonly width: number;
}

const LabelledSamplesSchema = Type.Object(
  {
    format: Type.Literal('drover.samples/1'),
    width: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    labels: Type.Array(Type.Integer({ minimum: 0, maximum: 100_000 }), { maxItems: 1_000_000 }),
    /** Little-endian float32 in base64, row-major. */
    features: Type.String(),
  },
  { additionalProperties: false },
);

export function encodeLabelledSamples({ features, labels, count, width }: LabelledSamples): Uint8Array {
  const bytes = Buffer.from(features.buffer, features.byteOffset, count * width * 4);
  return Buffer.from(
    JSON.stringify({
      format: 'drover.samples/1',
      width,
      labels: [...labels.subarray(0, count)],
      features: bytes.toString('base64'),
    }),
  );
}

/** @throws ManifestError SAMPLES_INVALID */
export function decodeLabelledSamples(bytes: Uint8Array): LabelledSamples {
  const refuse = (why: string, cause?: unknown) =>
    new ManifestError('SAMPLES_INVALID', `The labelled samples cannot be read: ${why}.`, {
      remedy: 'Publish the release again from samples that have one label per row.',
      cause,
    });
  const json = parseJsonBytes(bytes, refuse);
  const document = validate(LabelledSamplesSchema, json, (problems) => refuse(formatProblems(problems)));
  const raw = new Uint8Array(Buffer.from(document.features, 'base64'));
  const count = document.labels.length;
  if (raw.length !== count * document.width * 4) {
    throw refuse(`${raw.length} bytes do not hold ${count} rows of ${document.width} float32 values`);
  }
  return {
    features: new Float32Array(raw.buffer),
    labels: Int32Array.from(document.labels),
    count,
    width: document.width,
  };
}
