import { Version } from '../ids/index.js';
import { formatProblems, parseJsonBytes, validate, type Problem } from '../validation/index.js';
import { AGENT_MODEL, AGENT_RELEASE_FORMAT, AgentManifest, checkAgentManifest } from './agent-release.js';
import { ManifestError } from './errors.js';
import { Manifest, type FileReference, type Variant } from './schema.js';

export {
  AGENT_MODEL,
  AGENT_RELEASE_FORMAT,
  AgentManifest,
  agentVariantFor,
  MAX_UNPACKED_BYTES,
  Platform,
  platformName,
  type AgentVariant,
} from './agent-release.js';

export {
  Datatype,
  FileReference,
  Lineage,
  Manifest,
  MAX_FILE_BYTES,
  ModelSignature,
  MAX_INDEX_BYTES,
  Recipe,
  RELEASE_FORMAT,
  TensorSignature,
  Variant,
} from './schema.js';
export { encodeGoldenVectors, decodeGoldenVectors, type GoldenVector, type GoldenTensor } from './golden-vectors.js';
export { decodeLabelledSamples, encodeLabelledSamples, type LabelledSamples } from './labelled-samples.js';
export { MANIFEST_CODES, ManifestError } from './errors.js';

/** Largest manifest that is read: 1 MiB. Profiles and golden vectors are files of their own. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;

/** A release of a model, or of the agent itself. */
export type ReleaseManifest = Manifest | AgentManifest;
export const isAgentManifest = (manifest: ReleaseManifest): manifest is AgentManifest =>
  manifest.format === AGENT_RELEASE_FORMAT;

/** Parses the bytes of a *verified* manifest of either kind (docs/protocol.md, section 3). @throws ManifestError MANIFEST_INVALID */
export function parseRelease(payload: Uint8Array): ReleaseManifest {
  const json = parseBounded(payload);
  if ((json as { format?: unknown } | null)?.format === AGENT_RELEASE_FORMAT)
    return checkAgentManifest(validate(AgentManifest, json, schemaError));
  return toManifest(json);
}

/** Parses the bytes of a *verified* manifest of a model (docs/protocol.md, section 3). @throws ManifestError MANIFEST_INVALID */
export const parseManifest = (payload: Uint8Array): Manifest => toManifest(parseBounded(payload));

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

function toManifest(json: unknown): Manifest {
  const manifest = validate(Manifest, json, schemaError);
  Version(manifest.version);
  if (manifest.revertFloor !== undefined) Version(manifest.revertFloor);
  if (manifest.model !== AGENT_MODEL) return manifest;
  throw new ManifestError('MANIFEST_INVALID', `The name "${AGENT_MODEL}" is reserved for the agent itself.`, {
    remedy: 'Give the model another name; the agent is published with `drover agent publish`.',
  });
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
  const named = isAgentManifest(manifest)
    ? manifest.variants.map(({ bundle }) => bundle)
    : manifest.variants.flatMap((variant) => filesFor(manifest, variant));
  const files = named.flatMap((file) => [file, ...indexFileOf(file)]);
  return [...new Map(files.map((file) => [file.digest, file])).values()];
}
