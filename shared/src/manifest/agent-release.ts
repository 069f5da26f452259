import { Type, type Static } from 'typebox';
import { Version, type ModelName } from '../ids/index.js';
import { ManifestError } from './errors.js';
import { AGENT_MODEL } from './kinds.js';
import { createdAt, FileReference, Lineage, version } from './schema.js';

export const AGENT_RELEASE_FORMAT = 'drover.agent-release/1';

const strict = { additionalProperties: false } as const;
const word = Type.String({ pattern: '^[a-z0-9_]{1,32}$' });

/** What a bundle runs on: in the words of Node.js, process.platform, process.arch and process.versions.modules. */
export const Platform = Type.Object({ os: word, arch: word, nodeAbi: word }, strict);
export type Platform = Static<typeof Platform>;
export const platformName = ({ os, arch, nodeAbi }: Platform): string => `${os}-${arch}-abi${nodeAbi}`;

/** Largest bundle, unpacked: ten times what one takes today. */
export const MAX_UNPACKED_BYTES = 512 * 1024 ** 2;

/**
 * A release of the agent (docs/protocol.md, section 3): one bundle per platform, with everything that it needs but Node.js. It travels like the
 * release of a model; signature, golden vectors and drift do not apply to it.
 */
export const AgentManifest = Type.Object(
  {
    format: Type.Literal(AGENT_RELEASE_FORMAT),
    model: Type.Unsafe<ModelName>(Type.Literal(AGENT_MODEL)),
    version,
    createdAt,
    description: Type.Optional(Type.String({ maxLength: 2000 })),
    variants: Type.Array(
      Type.Object(
        {
          platform: Platform,
          /** A tar archive (ustar), compressed with gzip or not, as firmware-images/systemd/bundle.mjs packs it. */
          bundle: FileReference,
          unpackedBytes: Type.Integer({ minimum: 1, maximum: MAX_UNPACKED_BYTES }),
        },
        strict,
      ),
      { minItems: 1, maxItems: 32 },
    ),
    /** The oldest release that the director may send a device back to on its own. */
    revertFloor: Type.Optional(version),
    contract: Type.Object(
      {
        /** Of docs/protocol.md, section 1. */
        protocol: Type.Literal(1),
        /** Of agent/src/launcher/contract.ts. */
        launcher: Type.Literal(1),
      },
      strict,
    ),
    lineage: Lineage,
  },
  strict,
);
export type AgentManifest = Static<typeof AgentManifest>;
export type AgentVariant = AgentManifest['variants'][number];

/** What the schema cannot say. @throws ManifestError MANIFEST_INVALID; IdError */
export function checkAgentManifest(manifest: AgentManifest): AgentManifest {
  Version(manifest.version);
  if (manifest.revertFloor !== undefined) Version(manifest.revertFloor);
  const names = manifest.variants.map(({ platform }) => platformName(platform));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return manifest;
  throw new ManifestError('MANIFEST_INVALID', `Two bundles are for ${twice}.`, {
    remedy: 'Publish one bundle for each platform.',
  });
}

/** @throws ManifestError MANIFEST_NO_VARIANT */
export function agentVariantFor(manifest: AgentManifest, platform: Platform): AgentVariant {
  const wanted = platformName(platform);
  const found = manifest.variants.find((variant) => platformName(variant.platform) === wanted);
  if (found) return found;
  throw new ManifestError('MANIFEST_NO_VARIANT', `${manifest.model} ${manifest.version} has no bundle for ${wanted}.`, {
    remedy: `Publish a release with a bundle that was made for ${wanted}, or take the device out of the selector.`,
  });
}
