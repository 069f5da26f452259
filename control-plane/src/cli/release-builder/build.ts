import { basename } from 'node:path';
import { digestOf, ModelName, Version, type Digest } from '@drover/shared/ids';
import type { LabelledSamples, Manifest, Recipe, Tolerance, Variant } from '@drover/shared/manifest';
import { assembleRelease, type AssembledRelease } from '@drover/shared/release';
import { CliError } from '../errors.js';
import { ModelSignatureError, type VerifiedModel } from '../model-signing/index.js';
import { readFile } from '../files.js';
import { makeGoldenVectors } from './golden.js';
import { loadModel, type LoadedModel } from './model-run.js';
import { buildProfile, calibrate, predict, type ReferenceOptions } from './reference.js';
import { classesOf, readSamples, type Samples } from './samples.js';

export interface BuildOptions {
  readonly modelFile: string;
  readonly model: string;
  readonly version: string;
  readonly createdAt: Date;
  /** Classification with labels, else tensors, unless given. */
  readonly task?: Manifest['task']['type'];
  readonly labels?: readonly string[];
  /** Name of the output with class scores; guessed where there is one candidate. */
  readonly scores?: string;
  readonly description?: string;
  /** Inputs as the model meets them in normal operation: reference profile, thresholds, golden vectors; with labels also replay samples. */
  readonly samplesFile?: string;
  /** Labelled rows that the model never saw: its accuracy in the contract, and the sealed anchor set. */
  readonly heldOutFile?: string;
  readonly parent?: Digest;
  readonly recipe?: Recipe;
  readonly revertFloor?: string;
  /** The model file as somebody else signed it, verified before. */
  readonly signedModel?: VerifiedModel;
  readonly hardwareClasses: readonly string[];
  readonly maxLatencyMs?: number;
  readonly maxMemoryMiB?: number;
  readonly requiredProviders?: Variant['requiredProviders'];
  readonly parity: Tolerance;
  readonly providerParity?: Manifest['contract']['providerParity'];
  readonly drift: ReferenceOptions;
  /** Something that was done to the model, for people. */
  readonly onNote?: (line: string) => void;
}

/** Checks and runs the model, and makes a release of it, for somebody to sign. @throws OnnxError, CliError, StatisticsError, ManifestError, IdError */
export async function buildRelease(options: BuildOptions): Promise<AssembledRelease> {
  const bytes = readFile(options.modelFile);
  if (options.signedModel && digestOf(bytes) !== options.signedModel.digest) throw changedSince(options.modelFile);
  const model = await loadModel(bytes, { mayChange: options.signedModel === undefined });
  try {
    for (const line of notesOn(model.repairs)) options.onNote?.(line);
    return assembleRelease(await draftOf(withClassesOf(model, options), model));
  } finally {
    await model.close();
  }
}

const notesOn = ({ zipMaps, initializerInputs }: LoadedModel['repairs']): string[] => [
  ...zipMaps.map(
    ({ output, labels }) =>
      `Removed the ZipMap behind "${output}": it is a tensor now, with one score for each of ${labels.join(', ')}.`,
  ),
  ...(initializerInputs.length > 0
    ? [`Took ${initializerInputs.length} weights out of the inputs, so that the runtime can fold and pack them.`]
    : []),
];

/** A ZipMap knows the classes; who names neither a task nor classes means these. */
function withClassesOf({ repairs }: LoadedModel, options: BuildOptions): BuildOptions {
  const [classes, ...others] = repairs.zipMaps;
  if (!classes || others.length > 0 || classes.labels.length < 2 || options.labels) return options;
  if (options.task !== undefined && options.task !== 'classification') return options;
  return { ...options, labels: classes.labels, scores: classes.output };
}

async function draftOf(options: BuildOptions, model: LoadedModel) {
  const { labels, samplesFile, heldOutFile } = options;
  const samples = samplesFile === undefined ? undefined : readSamples(samplesFile);
  const heldOut = heldOutFile === undefined ? undefined : readSamples(heldOutFile);
  const scores = labels && (options.scores ?? scoresOutput(model, labels.length));
  if (labels && scores === undefined) throw labelsUnfit(model, labels);
  const predicted = samples && scores !== undefined ? await predict(model, samples, scores) : undefined;
  return {
    model: ModelName(options.model),
    version: Version(options.version),
    createdAt: options.createdAt,
    description: options.description,
    task: {
      type: options.task ?? (labels ? 'classification' : 'tensors'),
      ...(scores === undefined ? {} : { scores }),
      ...(labels ? { labels: [...labels] } : {}),
    },
    variants: [
      {
        name: 'default',
        hardwareClasses: [...options.hardwareClasses],
        precision: 'fp32' as const,
        ...(options.requiredProviders && { requiredProviders: options.requiredProviders }),
        signature: model.signature,
        model: model.bytes,
      },
    ],
    goldenVectors: await makeGoldenVectors(model, samples ?? heldOut),
    contract: {
      perHardwareClass: limitsOf(options),
      parity: options.parity,
      ...(options.providerParity && { providerParity: options.providerParity }),
      ...(heldOut && labels && scores !== undefined
        ? { heldOut: await accuracyOn(model, heldOut, classesOf(heldOut, labels, heldOutFile ?? ''), scores) }
        : {}),
    },
    reference: samples && {
      profile: buildProfile(samples, labels, predicted),
      thresholds: calibrate(samples, options.drift),
    },
    anchor: heldOut && labels && labelled(heldOut, labels, heldOutFile ?? ''),
    replay: samples?.labels && labels && labelled(samples, labels, samplesFile ?? ''),
    recipe: options.recipe,
    revertFloor: options.revertFloor === undefined ? undefined : Version(options.revertFloor),
    lineage: {
      ...(options.parent === undefined ? {} : { parent: options.parent }),
      ...(options.signedModel ? { modelSignature: options.signedModel.signature } : {}),
      data: [samplesFile, heldOutFile].flatMap((file, index) => {
        const rows = (index === 0 ? samples : heldOut)?.count;
        return file === undefined || rows === undefined
          ? []
          : [{ name: basename(file), digest: digestOf(readFile(file)), rows }];
      }),
    },
  };
}

const changedSince = (file: string) =>
  new ModelSignatureError('MODEL_SIGNATURE_FILES_DIFFER', 'The model file changed after its signature was verified.', {
    where: file,
    remedy: 'Publish again when nothing writes to the file any more.',
  });

function labelsUnfit({ signature }: LoadedModel, labels: readonly string[]): CliError {
  const found = signature.outputs.map(({ name, datatype, shape }) => `"${name}" (${datatype}, [${shape.join(', ')}])`);
  return new CliError(
    'CLI_LABELS_UNFIT',
    `No output has one float32 score for each of the ${labels.length} labels: ${found.join(', ')}.`,
    {
      remedy:
        'Give as many labels as the model has classes, in the order of its scores, or name the output with --scores.',
    },
  );
}

/** The first float output whose last axis has one element per label. */
function scoresOutput({ signature }: LoadedModel, classes: number): string | undefined {
  const fits = signature.outputs.filter(({ datatype, shape }) => datatype === 'FP32' && shape.at(-1) === classes);
  return (fits.find(({ name }) => name === 'probabilities') ?? fits[0])?.name;
}

function limitsOf({
  hardwareClasses,
  maxLatencyMs,
  maxMemoryMiB,
}: BuildOptions): Manifest['contract']['perHardwareClass'] {
  if (maxLatencyMs === undefined || maxMemoryMiB === undefined) return [];
  return hardwareClasses.map((hardwareClass) => ({ hardwareClass, maxLatencyMs, maxMemoryMiB }));
}

async function accuracyOn(model: LoadedModel, samples: Samples, truth: Int32Array, scores: string) {
  const { classes } = await predict(model, samples, scores);
  const right = classes.reduce((sum, predicted, row) => sum + (predicted === truth[row] ? 1 : 0), 0);
  return { accuracy: right / samples.count, rows: samples.count };
}

const labelled = (samples: Samples, labels: readonly string[], file: string): LabelledSamples => ({
  features: samples.values,
  labels: classesOf(samples, labels, file),
  count: samples.count,
  width: samples.width,
});
