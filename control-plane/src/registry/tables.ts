import type { Digest, ModelName, Version } from '@drover/shared/ids';

export interface ReleaseTable {
  /** SHA-256 of the manifest's bytes. */
  readonly digest: Digest;
  readonly model: ModelName;
  readonly version: Version;
  readonly parent: Digest | null;
  /** The manifest's bytes exactly as they were published: JSON in UTF-8. */
  readonly manifest: string;
  readonly published_at: number;
  readonly published_by: string;
  /** Since when its model's role no longer lists it. */
  readonly withdrawn_at: number | null;
}

export interface RegistryTables {
  releases: ReleaseTable;
}
