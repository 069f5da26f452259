import { DEFAULT_LIMITS, parseMetadata, type MetadataFile, type MetadataKind } from '@drover/shared/trust/tuf';
import { fileUnknown } from '../../release-repository/errors.js';
import type { Client } from '../client.js';
import { RemoteError } from '../errors.js';

/** Where the files of a release repository are read. */
export interface MetadataSource {
  /** A file by its name, with or without a version; undefined where there is none. */
  metadata(name: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

export const controlPlaneMetadata = (client: Client): MetadataSource => ({
  async metadata(name, signal) {
    try {
      return await client.document(`/repository/metadata/${name}`, signal);
    } catch (error) {
      if (error instanceof RemoteError && error.code === 'REPOSITORY_FILE_UNKNOWN') return undefined;
      throw error;
    }
  },
});

const MAX_BYTES: Readonly<Record<MetadataKind, number>> = {
  root: DEFAULT_LIMITS.maxRootBytes,
  timestamp: DEFAULT_LIMITS.maxTimestampBytes,
  snapshot: DEFAULT_LIMITS.maxSnapshotBytes,
  targets: DEFAULT_LIMITS.maxTargetsBytes,
};

/** By the bounds of devices: what is larger, none of them would take (docs/protocol.md, section 12, step 3). @throws TufError */
export const parseFile = <Kind extends MetadataKind>(
  kind: Kind,
  where: string,
  bytes: Uint8Array,
): MetadataFile<Kind> => parseMetadata(kind, bytes, { where, maxBytes: MAX_BYTES[kind] });

/** @throws TufError; what the source throws */
export async function findFile<Kind extends MetadataKind>(
  source: MetadataSource,
  kind: Kind,
  name: string,
  signal: AbortSignal,
): Promise<MetadataFile<Kind> | undefined> {
  const bytes = await source.metadata(name, signal);
  return bytes && parseFile(kind, name, bytes);
}

/** @throws RepositoryError REPOSITORY_FILE_UNKNOWN; as `findFile` */
export async function requireFile<Kind extends MetadataKind>(
  source: MetadataSource,
  kind: Kind,
  name: string,
  signal: AbortSignal,
): Promise<MetadataFile<Kind>> {
  const file = await findFile(source, kind, name, signal);
  if (file) return file;
  throw fileUnknown(name);
}
