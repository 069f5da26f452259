import { Type, type Static } from 'typebox';
import { DIGEST_PATTERN, NAME_PATTERN, digestOf, type DeviceId, type Digest } from '@drover/shared/ids';
import { Recipe } from '@drover/shared/manifest';
import { formatProblems, validate } from '@drover/shared/validation';
import { LearnError } from './errors.js';
import type { Examples } from './examples.js';

export const ADAPTATION_FORMAT = 'drover.adaptation/1';

const strict = { additionalProperties: false } as const;
const digest = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
const share = Type.Number({ minimum: 0, maximum: 1 });
const count = Type.Integer({ minimum: 0 });
const accuracy = Type.Object({ before: share, after: share, count }, strict);

/** Lineage of a model that was fine-tuned on a device. The model itself is kept whole, under `model`. */
export const Adaptation = Type.Object(
  {
    format: Type.Literal(ADAPTATION_FORMAT),
    /** Digest of the release (its manifest) that was adapted. */
    base: digest,
    /** Digest of the base release's model file. */
    baseModel: digest,
    /** Digest of the resulting model file. */
    model: digest,
    modelBytes: Type.Integer({ minimum: 1 }),
    data: Type.Array(
      Type.Object(
        {
          role: Type.Union([
            Type.Literal('train'),
            Type.Literal('replay'),
            Type.Literal('holdout'),
            Type.Literal('anchor'),
          ]),
          digest,
          rows: count,
        },
        strict,
      ),
      { maxItems: 16 },
    ),
    recipe: Recipe,
    seed: Type.Integer(),
    steps: count,
    accuracy: Type.Object({ holdout: accuracy, anchor: accuracy }, strict),
    createdAt: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$' }),
    deviceId: Type.Optional(Type.Unsafe<DeviceId>(Type.String({ pattern: NAME_PATTERN }))),
  },
  strict,
);
export type Adaptation = Static<typeof Adaptation>;

/** @throws LearnError LEARN_ADAPTATION_INVALID */
export function parseAdaptation(json: unknown): Adaptation {
  return validate(
    Adaptation,
    json,
    (problems) =>
      new LearnError(
        'LEARN_ADAPTATION_INVALID',
        `The adaptation does not follow the schema: ${formatProblems(problems)}.`,
        {
          remedy: 'Fine-tune again; a document of another version of Drover needs that version.',
        },
      ),
  );
}

/** Names a set of examples by content: its width, then labels and features as little-endian bytes. */
export function digestExamples({ features, labels, width }: Examples): Digest {
  const head = Buffer.from(`drover.examples/1 ${width}\n`);
  const bytesOf = (array: Float32Array | Int32Array) =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return digestOf(Buffer.concat([head, bytesOf(labels), bytesOf(features)]));
}
