import { buildChunkIndex, encodeChunkIndex, isWorthAnIndex, memorySource } from '../delivery/index.js';
import { digestOf, type Digest, type ModelName, type Version } from '../ids/index.js';
import {
  AGENT_MODEL,
  AGENT_RELEASE_FORMAT,
  encodeGoldenVectors,
  encodeLabelledSamples,
  parseManifest,
  parseRelease,
  platformName,
  RELEASE_FORMAT,
  type AgentManifest,
  type FileReference,
  type GoldenVector,
  type LabelledSamples,
  type Lineage,
  type Manifest,
  type Platform,
  type Recipe,
  type ReleaseManifest,
  type Variant,
} from '../manifest/index.js';
import { toJson as profileToJson, type Profile } from '../profile/index.js';
import type { DriftThresholds } from '../statistics/index.js';

export { assembleParametersRelease, ParametersDraft } from './parameters.js';

/** What a publisher has in hand; `assembleRelease` turns it into a manifest and its files. */
export interface ReleaseDraft {
  readonly model: ModelName;
  readonly version: Version;
  readonly createdAt: Date;
  readonly description?: string | undefined;
  readonly task: Manifest['task'];
  readonly variants: readonly (Omit<Variant, 'model'> & { readonly model: Uint8Array })[];
  readonly goldenVectors: readonly GoldenVector[];
  readonly contract: Manifest['contract'];
  /** Reference profile with the thresholds that were calibrated for it; a release without them is not watched for drift. */
  readonly reference?: { readonly profile: Profile; readonly thresholds: DriftThresholds } | undefined;
  readonly anchor?: LabelledSamples | undefined;
  readonly replay?: LabelledSamples | undefined;
  /** What sequences of a recurrent model begin with, by the path that its variants name. */
  readonly states?: ReadonlyMap<string, Uint8Array> | undefined;
  readonly recipe?: Recipe | undefined;
  readonly revertFloor?: Version | undefined;
  readonly lineage: Lineage;
}

export interface AssembledRelease {
  readonly manifest: Manifest;
  /** Digest of the manifest's bytes: the name of the release. */
  readonly digest: Digest;
  /** The manifest's bytes: what is listed in the release repository, stored and sent. */
  readonly manifestBytes: Buffer;
  readonly files: ReadonlyMap<Digest, Uint8Array>;
}

/** @throws ManifestError when the draft does not make a valid manifest */
export function assembleRelease(draft: ReleaseDraft): AssembledRelease {
  const files = new Map<Digest, Uint8Array>();
  const add = (path: string, bytes: Uint8Array): FileReference => {
    const digest = digestOf(bytes);
    files.set(digest, bytes);
    return { path, digest, bytes: bytes.length, ...indexOf(bytes) };
  };
  const indexOf = (bytes: Uint8Array): Pick<FileReference, 'index'> => {
    const source = memorySource(bytes);
    const index = buildChunkIndex(source);
    if (!isWorthAnIndex(source, index)) return {};
    const encoded = encodeChunkIndex(index);
    files.set(digestOf(encoded), encoded);
    return { index: { digest: digestOf(encoded), bytes: encoded.length } };
  };
  const assets: Manifest['assets'] = [];
  if (draft.anchor) assets.push({ kind: 'anchor', file: add('anchor.json', encodeLabelledSamples(draft.anchor)) });
  if (draft.replay) assets.push({ kind: 'replay', file: add('replay.json', encodeLabelledSamples(draft.replay)) });
  for (const [path, bytes] of draft.states ?? []) assets.push({ kind: 'state', file: add(path, bytes) });
  const manifestBytes = Buffer.from(
    JSON.stringify({
      format: RELEASE_FORMAT,
      model: draft.model,
      version: draft.version,
      createdAt: draft.createdAt.toISOString(),
      description: draft.description,
      task: draft.task,
      variants: draft.variants.map(({ model, ...variant }) => ({
        ...variant,
        model: add(`${variant.name}/model.onnx`, model),
      })),
      assets,
      revertFloor: draft.revertFloor,
      contract: draft.contract,
      goldenVectors: add('golden.json', encodeGoldenVectors(draft.goldenVectors)),
      referenceProfile:
        draft.reference && add('profile.json', Buffer.from(JSON.stringify(profileToJson(draft.reference.profile)))),
      drift: draft.reference?.thresholds,
      recipe: draft.recipe,
      lineage: draft.lineage,
    } satisfies Record<keyof Manifest, unknown>),
  );
  return {
    manifest: parseManifest(manifestBytes),
    digest: digestOf(manifestBytes),
    manifestBytes,
    files,
  };
}

/** What a publisher of the agent has in hand. */
export interface AgentReleaseDraft {
  readonly version: Version;
  readonly createdAt: Date;
  readonly description?: string | undefined;
  /** One for each platform. */
  readonly bundles: readonly {
    readonly platform: Platform;
    readonly bytes: Uint8Array;
    readonly unpackedBytes: number;
  }[];
  readonly revertFloor?: Version | undefined;
  readonly parent?: Digest | undefined;
}

/** @throws ManifestError when the draft does not make a valid manifest */
export function assembleAgentRelease(
  draft: AgentReleaseDraft,
): Omit<AssembledRelease, 'manifest'> & { readonly manifest: ReleaseManifest } {
  const files = new Map<Digest, Uint8Array>();
  const manifestBytes = Buffer.from(
    JSON.stringify({
      format: AGENT_RELEASE_FORMAT,
      model: AGENT_MODEL,
      version: draft.version,
      createdAt: draft.createdAt.toISOString(),
      description: draft.description,
      variants: draft.bundles.map(({ platform, bytes, unpackedBytes }) => {
        const digest = digestOf(bytes);
        files.set(digest, bytes);
        const path = `${platformName(platform)}/drover-agent-${draft.version}.tar.gz`;
        return { platform, bundle: { path, digest, bytes: bytes.length }, unpackedBytes };
      }),
      revertFloor: draft.revertFloor,
      contract: { protocol: 1, launcher: 1 },
      lineage: { ...(draft.parent && { parent: draft.parent }), data: [] },
    } satisfies Record<keyof AgentManifest, unknown>),
  );
  return {
    manifest: parseRelease(manifestBytes),
    digest: digestOf(manifestBytes),
    manifestBytes,
    files,
  };
}
