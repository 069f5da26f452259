import type { Manifest } from './schema.js';

const HAS = {
  'contract.inputs': ({ contract }: Manifest) => contract.inputs !== undefined,
  'contract.agreement': ({ contract }: Manifest) => contract.agreement !== undefined,
  'contract.providerParity': ({ contract }: Manifest) => contract.providerParity !== undefined,
  'task.decoding': ({ task }: Manifest) =>
    [task.detection, task.segmentation, task.regression, task.anomaly].some((decoding) => decoding !== undefined),
  'variants.requiredProviders': ({ variants }: Manifest) =>
    variants.some(({ requiredProviders }) => requiredProviders !== undefined),
  'variants.sequences': ({ variants }: Manifest) => variants.some(({ sequences }) => sequences !== undefined),
} as const;

export type ManifestPart = keyof typeof HAS;

/**
 * Parts of the manifest of a model that came later than the first agents, which refuse a release with a key that they do not know. An agent says among
 * what it `takes` which of them it reads (docs/protocol.md, section 1).
 */
export const MANIFEST_PARTS = Object.keys(HAS) as readonly ManifestPart[];

/** Those that this manifest has. */
export const partsOf = (manifest: Manifest): ManifestPart[] => MANIFEST_PARTS.filter((part) => HAS[part](manifest));
