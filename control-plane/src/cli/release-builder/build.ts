import { basename } from 'node:path';
import { digestOf, ModelName, Version, type Digest } from '@drover/shared/ids';
import type { InputContract } from '@drover/shared/input-contract';
import type { LabelledSamples, Manifest, Recipe, Tolerance, Variant } from '@drover/shared/manifest';
import { assembleRelease, type AssembledRelease } from '@drover/shared/release';
import { ModelSignatureError, type VerifiedModel } from '../model-signing/index.js';
import { readFile } from '../files.js';
import { importSuite, joinInputs, type ImportOptions } from '../input-contract/import-suite.js';
import { makeGoldenVectors } from './golden.js';
import { readGoldenFile } from './golden-file.js';
import { notesOnGolden } from './golden-notes.js';
import { loadModel, type LoadedModel } from './model-run.js';
import { buildProfile, calibrate, predict, type ReferenceOptions } from './reference.js';
import { classesOf, readSamples, type Samples } from './samples.js';
import { withStates, type SequenceOptions, type StatefulModel } from './states.js';
import { demandBackgroundClear, demandTask, type TaskGiven } from './task/index.js';

export interface BuildOptions extends TaskGiven {
  readonly modelFile: string;
  readonly model: string;
  readonly version: string;
  readonly createdAt: Date;
  readonly description?: string;
  /** Inputs as the model meets them in normal operation: reference profile, thresholds, golden vectors; with labels also replay samples. */
  readonly samplesFile?: string;
  /** Labelled rows that the model never saw: its accuracy in the contract, and the sealed anchor set. */
  readonly heldOutFile?: string;
  /** Golden vectors with answers from elsewhere, in place of samples with those of this machine. */
  readonly goldenFile?: string;
  readonly parent?: Digest;
  /** What inputs have to hold. */
  readonly inputs?: InputContract;
  /** The same, as Great Expectations says it; rules of both are joined. Without `inputs` they only record. */
  readonly expectations?: Omit<ImportOptions, 'sampleNames' | 'onNote'>;
  readonly recipe?: Recipe;
  readonly revertFloor?: string;
  /** The model file as somebody else signed it, verified before. */
  readonly signedModel?: VerifiedModel;
  readonly hardwareClasses: readonly string[];
  readonly maxLatencyMs?: number;
  readonly maxMemoryMiB?: number;
  readonly requiredProviders?: Variant['requiredProviders'];
  /** Of a recurrent model, whose state the agent shall keep. */
  readonly sequences?: SequenceOptions;
  readonly parity: Tolerance;
  readonly providerParity?: Manifest['contract']['providerParity'];
  readonly agreement?: Manifest['contract']['agreement'];
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
    const stateful = options.sequences && withStates(model, options.sequences);
    return assembleRelease(await draftOf(withClassesOf(model, options), stateful?.model ?? model, stateful));
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

async function draftOf(options: BuildOptions, model: LoadedModel, stateful?: StatefulModel) {
  const { samplesFile, heldOutFile, goldenFile: file } = options;
  const task = demandTask(options, { outputs: model.signature.outputs, operators: model.operators });
  const { scores } = task;
  // Of classifiers alone are predictions recorded, profiled and fine-tuned.
  const labels = scores === undefined ? undefined : task.labels;
  const samples = samplesFile === undefined ? undefined : readSamples(samplesFile);
  const heldOut = heldOutFile === undefined ? undefined : readSamples(heldOutFile);
  const predicted = samples && labels && scores !== undefined ? await predict(model, samples, scores) : undefined;
  const { parity, agreement } = options;
  const goldenVectors =
    file === undefined
      ? await makeGoldenVectors(model, samples ?? heldOut)
      : await readGoldenFile(model, { file, task, parity, agreement });
  demandBackgroundClear(task, options, goldenVectors);
  for (const line of notesOnGolden(task, model.signature.outputs, goldenVectors)) options.onNote?.(line);
  return {
    model: ModelName(options.model),
    version: Version(options.version),
    createdAt: options.createdAt,
    description: options.description,
    task,
    variants: [
      {
        name: 'default',
        hardwareClasses: [...options.hardwareClasses],
        precision: 'fp32' as const,
        ...(options.requiredProviders && { requiredProviders: options.requiredProviders }),
        signature: model.signature,
        ...(stateful && { sequences: stateful.sequences }),
        model: model.bytes,
      },
    ],
    goldenVectors,
    contract: {
      perHardwareClass: limitsOf(options),
      parity: options.parity,
      ...(options.providerParity && { providerParity: options.providerParity }),
      ...withInputs(options, model, samples),
      ...(options.agreement !== undefined && { agreement: options.agreement }),
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
    states: stateful?.files,
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

/** @throws CliError CLI_EXPECTATIONS_UNSUPPORTED */
function withInputs(
  { inputs, expectations, onNote }: BuildOptions,
  { signature }: LoadedModel,
  samples: Samples | undefined,
): Pick<Manifest['contract'], 'inputs'> {
  const imported =
    expectations && importSuite(signature.inputs, { ...expectations, sampleNames: samples?.names, onNote });
  if (!imported || imported.length === 0) return inputs ? { inputs } : {};
  const contract = inputs ?? { action: 'record' as const, inputs: [] };
  return { inputs: { ...contract, inputs: joinInputs(contract.inputs, imported) } };
}

const changedSince = (file: string) =>
  new ModelSignatureError('MODEL_SIGNATURE_FILES_DIFFER', 'The model file changed after its signature was verified.', {
    where: file,
    remedy: 'Publish again when nothing writes to the file any more.',
  });

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
