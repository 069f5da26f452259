import type { TSchema } from 'typebox';
import { Version } from '../ids/index.js';
import { decoderFor, TaskError } from '../task/index.js';
import type { TensorSignature } from '../tensors/index.js';
import { contractProblems } from '../input-contract/index.js';
import { formatProblems, parseJsonBytes, validate, type Problem } from '../validation/index.js';
import { AGENT_RELEASE_FORMAT, AgentManifest, checkAgentManifest } from './agent-release.js';
import { ManifestError } from './errors.js';
import { kindOf, orderKindOf, RELEASE_KINDS, type ReleaseKind } from './kinds.js';
import { checkParametersManifest, PARAMETERS_FORMAT, ParametersManifest } from './parameters.js';
import { Manifest, RELEASE_FORMAT, type FileReference, type Variant } from './schema.js';
import { checkSequences } from './sequences.js';

export { MANIFEST_PARTS, partsOf, type ManifestPart } from './parts.js';
export {
  AGENT_MODEL,
  kindOf,
  modelOfParameters,
  orderKindOf,
  parametersOf,
  RELEASE_KINDS,
  releaseLineOf,
  trialOf,
  type OrderKind,
  type ReleaseKind,
} from './kinds.js';
export { Parameter, ParameterValue } from './parameter.js';
export {
  isCompatible,
  PARAMETERS_FORMAT,
  parametersContent,
  ParametersManifest,
  ParameterValues,
  satisfiesRange,
  valuesFor,
} from './parameters.js';
export { siteValues, type ParameterChange, type SiteValues } from './parameter-changes.js';
export {
  AGENT_RELEASE_FORMAT,
  AgentManifest,
  agentVariantFor,
  MAX_UNPACKED_BYTES,
  Platform,
  platformName,
  type AgentVariant,
} from './agent-release.js';

export {
  FileReference,
  Lineage,
  Manifest,
  MAX_FILE_BYTES,
  ModelSignature,
  MAX_INDEX_BYTES,
  Provider,
  Recipe,
  RELEASE_FORMAT,
  Variant,
} from './schema.js';
export type { Sequences, SequenceState } from './sequences.js';
export { bytesToStrings, Datatype, stringsToBytes, TensorSignature, type Tolerance } from '../tensors/index.js';
export { encodeGoldenVectors, decodeGoldenVectors, type GoldenVector, type GoldenTensor } from './golden-vectors.js';
export { decodeLabelledSamples, encodeLabelledSamples, type LabelledSamples } from './labelled-samples.js';
export { MANIFEST_CODES, ManifestError } from './errors.js';

/** Largest manifest that is read: 1 MiB. Profiles and golden vectors are files of their own. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;

/** The manifest of each kind of release. */
export interface ManifestOf {
  model: Manifest;
  agent: AgentManifest;
  parameters: ParametersManifest;
}
export type ReleaseManifest = ManifestOf[ReleaseKind];

interface KindRow<Kind extends ReleaseKind> {
  readonly format: ManifestOf[Kind]['format'];
  readonly schema: TSchema;
  /** What the schema cannot say. @throws ManifestError MANIFEST_INVALID; IdError */
  readonly check: (manifest: ManifestOf[Kind]) => ManifestOf[Kind];
  /** All files that the manifest names, all variants together, without their indexes. */
  readonly files: (manifest: ManifestOf[Kind]) => FileReference[];
  /** With what such a release is made. */
  readonly made: string;
}

/** What the kinds of releases differ in, as far as their manifests go. */
const KINDS: { readonly [Kind in ReleaseKind]: KindRow<Kind> } = {
  model: {
    format: RELEASE_FORMAT,
    schema: Manifest,
    check: checkManifest,
    files: (manifest) => manifest.variants.flatMap((variant) => filesFor(manifest, variant)),
    made: 'drover model publish',
  },
  agent: {
    format: AGENT_RELEASE_FORMAT,
    schema: AgentManifest,
    check: checkAgentManifest,
    files: (manifest) => manifest.variants.map(({ bundle }) => bundle),
    made: 'drover agent publish',
  },
  parameters: {
    format: PARAMETERS_FORMAT,
    schema: ParametersManifest,
    check: checkParametersManifest,
    files: () => [],
    made: 'drover parameters publish',
  },
};

/** Narrows a manifest to that of one kind. */
export const isOfKind = <Kind extends ReleaseKind>(
  kind: Kind,
  manifest: ReleaseManifest,
): manifest is ManifestOf[Kind] => manifest.format === KINDS[kind].format;

export const isAgentManifest = (manifest: ReleaseManifest): manifest is AgentManifest => isOfKind('agent', manifest);

/** Parses the bytes of a *verified* manifest of any kind (docs/protocol.md, section 3). @throws ManifestError MANIFEST_INVALID */
export function parseRelease(payload: Uint8Array): ReleaseManifest {
  const json = parseBounded(payload);
  const format = (json as { format?: unknown } | null)?.format;
  return toManifest(RELEASE_KINDS.find((kind) => KINDS[kind].format === format) ?? 'model', json);
}

/** Parses the bytes of a *verified* manifest of a model (docs/protocol.md, section 3). @throws ManifestError MANIFEST_INVALID */
export const parseManifest = (payload: Uint8Array): Manifest => toManifest('model', parseBounded(payload));

function parseBounded(payload: Uint8Array): unknown {
  if (payload.length > MAX_MANIFEST_BYTES) {
    throw new ManifestError(
      'MANIFEST_INVALID',
      `The manifest has ${payload.length} bytes; the limit is ${MAX_MANIFEST_BYTES}.`,
      {
        remedy: 'Move what is large into files of the release: labels, profiles, golden vectors.',
      },
    );
  }
  return parseJsonBytes(
    payload,
    (_why, cause) =>
      new ManifestError('MANIFEST_INVALID', 'The manifest is not JSON.', {
        remedy: 'Publish the release again.',
        cause,
      }),
  );
}

const schemaError = (problems: readonly Problem[]) =>
  new ManifestError('MANIFEST_INVALID', `The manifest does not follow the schema: ${formatProblems(problems)}.`, {
    remedy: 'Mend the named keys (docs/protocol.md, section 3) and publish again.',
  });

/** The name of the line and the format of the manifest have to say the same: a device goes by the name before it has read the manifest. */
function toManifest<Kind extends ReleaseKind>(kind: Kind, json: unknown): ManifestOf[Kind] {
  const row: KindRow<Kind> = KINDS[kind];
  const manifest = row.check(validate(row.schema, json, schemaError) as ManifestOf[Kind]);
  const named = orderKindOf(manifest.model);
  if (named === kind) return manifest;
  const [reserved, otherwise] =
    named === 'trial'
      ? ['trials of releases', '']
      : [`another kind of release (${named}) than this (${kind})`, `, or make it with \`${KINDS[named].made}\``];
  throw new ManifestError('MANIFEST_INVALID', `The name "${manifest.model}" is reserved for ${reserved}.`, {
    remedy: `Give it another name${otherwise}.`,
  });
}

function checkManifest(manifest: Manifest): Manifest {
  Version(manifest.version);
  if (manifest.revertFloor !== undefined) Version(manifest.revertFloor);
  for (const variant of manifest.variants) {
    checkTask(manifest.task, variant.name, variant.signature.outputs);
    checkSequences(manifest, variant);
  }
  checkInputContract(manifest);
  return manifest;
}

function checkTask(task: Manifest['task'], variant: string, outputs: readonly TensorSignature[]): void {
  try {
    decoderFor(task, outputs);
  } catch (cause) {
    if (!(cause instanceof TaskError)) throw cause;
    const { message, remedy } = cause;
    throw new ManifestError('MANIFEST_INVALID', `The variant "${variant}": ${message}`, {
      remedy,
      where: '/task',
      cause,
    });
  }
}

/** Every variant gets the same inputs: the contract has to fit each. */
function checkInputContract({ contract: { inputs }, variants }: Manifest): void {
  if (!inputs) return;
  for (const { name, signature } of variants) {
    const problems = contractProblems(inputs, signature.inputs);
    if (problems.length === 0) continue;
    const what = `The contract of the inputs does not fit the variant "${name}": ${formatProblems(problems)}.`;
    throw new ManifestError('MANIFEST_INVALID', what, { remedy: 'Mend the named rules and publish again.' });
  }
}

/** The variant for a hardware class: an exact name wins over `*`. */
export function variantFor(manifest: Manifest, hardwareClass: string): Variant {
  const exact = manifest.variants.find((variant) => variant.hardwareClasses.includes(hardwareClass));
  const found = exact ?? manifest.variants.find((variant) => variant.hardwareClasses.includes('*'));
  if (found) return found;
  throw new ManifestError(
    'MANIFEST_NO_VARIANT',
    `${manifest.model} ${manifest.version} has no variant for the hardware class "${hardwareClass}".`,
    {
      remedy: `Publish a release with a variant for "${hardwareClass}" or for "*", or take the device out of the selector.`,
    },
  );
}

/** What the publisher promises for a hardware class: an exact name wins over `*`. */
export function contractFor(
  { contract }: Pick<Manifest, 'contract'>,
  hardwareClass: string,
): Manifest['contract']['perHardwareClass'][number] | undefined {
  const { perHardwareClass } = contract;
  return (
    perHardwareClass.find((each) => each.hardwareClass === hardwareClass) ??
    perHardwareClass.find((each) => each.hardwareClass === '*')
  );
}

/** Everything that a device of this variant has to fetch, without repetitions. */
export function filesFor(manifest: Manifest, variant: Variant): FileReference[] {
  const files = [variant.model, manifest.goldenVectors, ...manifest.assets.map((asset) => asset.file)];
  if (manifest.referenceProfile) files.push(manifest.referenceProfile);
  return [...new Map(files.map((file) => [file.digest, file])).values()];
}

/** The chunk index of a file as a file of its own, if it has one. */
export const indexFileOf = ({ path, index }: FileReference): FileReference[] =>
  index ? [{ path: `${path}.chunks`, ...index }] : [];

/** All files of the release, all variants together, and their indexes. */
export function allFiles(manifest: ReleaseManifest): FileReference[] {
  const named = KINDS[kindOf(manifest.model)].files as (manifest: ReleaseManifest) => FileReference[];
  const files = named(manifest).flatMap((file) => [file, ...indexFileOf(file)]);
  return [...new Map(files.map((file) => [file.digest, file])).values()];
}
