import { Type, type Static } from 'typebox';
import { DIGEST_PATTERN, NAME_PATTERN, type Digest, type ModelName, type Version } from '../ids/index.js';
import { InputContract } from '../input-contract/index.js';
import { DriftThresholds } from '../statistics/index.js';
import { Task } from '../task/index.js';
import { TensorSignature, Tolerance } from '../tensors/index.js';
import { Sequences } from './sequences.js';

/** The format of this document. A reader refuses a major number that it does not know. */
export const RELEASE_FORMAT = 'drover.release/1';

const strict = { additionalProperties: false } as const;
const digest = Type.Unsafe<Digest>(Type.String({ pattern: DIGEST_PATTERN }));
export const version = Type.Unsafe<Version>(
  Type.String({ pattern: '^\\d+\\.\\d+\\.\\d+[0-9A-Za-z.+-]*$', maxLength: 64 }),
);
/** In UTC. */
export const createdAt = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$' });
const share = Type.Number({ minimum: 0, maximum: 1 });
const text = (maxLength: number) => Type.String({ minLength: 1, maxLength });

/** Relative path inside the release; never absolute, never upwards. */
const path = Type.String({
  pattern: '^(?!.*(^|/)\\.\\.?(/|$))[A-Za-z0-9][A-Za-z0-9._/-]*$',
  maxLength: 200,
});

/** Largest file that a manifest may name: 16 GiB. */
export const MAX_FILE_BYTES = 16 * 1024 ** 3;

/** Largest chunk index of a file: that of a file of 16 GiB in the smallest chunks has 9 MiB. */
export const MAX_INDEX_BYTES = 10 * 1024 ** 2;

export const FileReference = Type.Object(
  {
    path,
    digest,
    bytes: Type.Integer({ minimum: 0, maximum: MAX_FILE_BYTES }),
    /** The chunk index of the file (docs/protocol.md, section 10), where chunks are worth their index. */
    index: Type.Optional(
      Type.Object({ digest, bytes: Type.Integer({ minimum: 1, maximum: MAX_INDEX_BYTES }) }, strict),
    ),
  },
  strict,
);
export type FileReference = Static<typeof FileReference>;

/** Execution providers of ONNX Runtime that a device can be configured with. */
export const Provider = Type.Enum(['tensorrt', 'cuda', 'webgpu', 'cpu']);
export type Provider = Static<typeof Provider>;

/** The same model for one kind of hardware. `hardwareClasses: ['*']` fits any device. */
export const Variant = Type.Object(
  {
    name: text(64),
    hardwareClasses: Type.Array(text(64), { minItems: 1, maxItems: 64 }),
    precision: Type.Enum(['fp32', 'fp16', 'int8']),
    /** One of these has to run it; a device where none does refuses the release. Without it any will do: the first that works of those that the device is configured with. */
    requiredProviders: Type.Optional(Type.Array(Provider, { minItems: 1, maxItems: 4 })),
    model: FileReference,
    signature: Type.Object(
      {
        inputs: Type.Array(TensorSignature, { minItems: 1, maxItems: 64 }),
        outputs: Type.Array(TensorSignature, { minItems: 1, maxItems: 64 }),
      },
      strict,
    ),
    /** Of a recurrent model: what is carried from request to request. Its states are inputs and outputs beside those of the signature. */
    sequences: Type.Optional(Sequences),
  },
  strict,
);
export type Variant = Static<typeof Variant>;

/**
 * `anchor`: sealed labelled samples that an adaptation is examined on and never trained on; `replay`: labelled samples that fine-tuning mixes
 * in against forgetting. Both in format `drover.samples/1`. `state`: what a sequence begins with, as little-endian bytes.
 */
export const Asset = Type.Object(
  {
    kind: Type.Enum(['labels', 'preprocessing', 'anchor', 'replay', 'state', 'other']),
    file: FileReference,
  },
  strict,
);

/** How a dense classifier is trained again; also the bounds within which a device may do it by itself. */
export const Recipe = Type.Object(
  {
    optimizer: Type.Enum(['sgd', 'adam']),
    learningRate: Type.Number({ exclusiveMinimum: 0, maximum: 10 }),
    momentum: Type.Number({ minimum: 0, exclusiveMaximum: 1 }),
    weightDecay: Type.Number({ minimum: 0, maximum: 1 }),
    batchSize: Type.Integer({ minimum: 1, maximum: 4096 }),
    epochs: Type.Integer({ minimum: 1, maximum: 10_000 }),
    /** Share of each training set that is replayed from the anchor set, against forgetting. */
    replayShare: share,
    /** Names of the initializers to train; all that feed a layer when empty. */
    trainable: Type.Array(text(200), { maxItems: 1000 }),
    /** May a device that fine-tuned this release run the result? `auto` only within `bounds`. */
    adaptation: Type.Enum(['off', 'propose', 'auto']),
    bounds: Type.Object(
      {
        /** Labelled samples that must exist before training starts. */
        minLabelled: Type.Integer({ minimum: 10 }),
        /** Share of the labelled samples held out for the gate. */
        holdoutShare: Type.Number({ minimum: 0.1, maximum: 0.9 }),
        minImprovement: share,
        maxForgetting: share,
        alpha: Type.Number({ exclusiveMinimum: 0, maximum: 0.5 }),
      },
      strict,
    ),
  },
  strict,
);
export type Recipe = Static<typeof Recipe>;

/** An OpenSSF model signature that was verified when the release was published: who vouches for the model file that it was made from. */
export const ModelSignature = Type.Object(
  {
    predicateType: Type.Literal('https://model_signing/signature/v1.0'),
    /** Digest of the bundle's file. */
    bundle: digest,
    /** Digest over the digests of all files that were signed: the model's name in other attestations. */
    root: digest,
    files: Type.Integer({ minimum: 1 }),
    signedBy: Type.Union([
      Type.Object(
        {
          method: Type.Literal('key'),
          /** SHA-256 of the public key's PEM, as bundles name keys. */
          keyId: Type.String({ pattern: '^[0-9a-f]{64}$' }),
        },
        strict,
      ),
      Type.Object(
        {
          method: Type.Literal('certificate'),
          subject: text(500),
          issuer: text(500),
          /** Digest of the signer's certificate in DER. */
          certificate: digest,
          /** The identity that was asked for at publishing, and that the certificate names. */
          identity: Type.Optional(text(500)),
        },
        strict,
      ),
    ]),
  },
  strict,
);
export type ModelSignature = Static<typeof ModelSignature>;

export const Lineage = Type.Object(
  {
    /** Digest of the release that this one continues, if any. */
    parent: Type.Optional(digest),
    data: Type.Array(Type.Object({ name: text(200), digest, rows: Type.Integer({ minimum: 0 }) }, strict), {
      maxItems: 100,
    }),
    run: Type.Optional(
      Type.Object(
        {
          id: text(100),
          tool: text(100),
          seed: Type.Integer(),
          steps: Type.Integer({ minimum: 0 }),
          metrics: Type.Record(Type.String(), Type.Number()),
        },
        strict,
      ),
    ),
    modelSignature: Type.Optional(ModelSignature),
  },
  strict,
);
export type Lineage = Static<typeof Lineage>;

/**
 * What a release is. The publisher signs the bytes of this document (DSSE), and the digest of those bytes names the release
 * (docs/protocol.md, section 3).
 */
export const Manifest = Type.Object(
  {
    format: Type.Literal(RELEASE_FORMAT),
    model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
    version,
    createdAt,
    description: Type.Optional(Type.String({ maxLength: 2000 })),
    task: Task,
    variants: Type.Array(Variant, { minItems: 1, maxItems: 32 }),
    assets: Type.Array(Asset, { maxItems: 64 }),
    /** The oldest release that the director may send a device back to on its own. */
    revertFloor: Type.Optional(version),
    contract: Type.Object(
      {
        perHardwareClass: Type.Array(
          Type.Object(
            {
              hardwareClass: text(64),
              maxLatencyMs: Type.Number({ exclusiveMinimum: 0 }),
              maxMemoryMiB: Type.Number({ exclusiveMinimum: 0 }),
            },
            strict,
          ),
          { maxItems: 64 },
        ),
        /** Of the outputs to the golden vectors. */
        parity: Tolerance,
        /** For providers that compute otherwise (TF32, FP16 kernels), in place of it. */
        providerParity: Type.Optional(
          Type.Object(
            {
              tensorrt: Type.Optional(Tolerance),
              cuda: Type.Optional(Tolerance),
              webgpu: Type.Optional(Tolerance),
              cpu: Type.Optional(Tolerance),
            },
            strict,
          ),
        ),
        /** Where elements are beyond the parity: the least share of the answers to the golden vectors that agree, by the measure of the task; unless given all of them, and within the parity. */
        agreement: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
        /** What inputs have to hold. A part that not every agent reads gets a name (`MANIFEST_PARTS`). */
        inputs: Type.Optional(InputContract),
        /** Accuracy on held-out data at publish time, with its number of rows; what the first rollout is judged against. */
        heldOut: Type.Optional(Type.Object({ accuracy: share, rows: Type.Integer({ minimum: 1 }) }, strict)),
      },
      strict,
    ),
    /** Document of golden vectors (format `drover.golden/1`). */
    goldenVectors: FileReference,
    /** Document of the reference profile (format `drover.profile/1`) with its drift thresholds. */
    referenceProfile: Type.Optional(FileReference),
    /** Calibrated at publish time for this profile; signed with it. */
    drift: Type.Optional(DriftThresholds),
    recipe: Type.Optional(Recipe),
    lineage: Lineage,
  },
  strict,
);
export type Manifest = Static<typeof Manifest>;
