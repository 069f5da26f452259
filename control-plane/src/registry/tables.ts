import type { Digest, ModelName, Version } from '@drover/shared/ids';

/** Each row replaces the one before it; the newest is in force. */
export interface PublisherKeySetTable {
  readonly sequence: number;
  /** JSON of a KeySet: public keys only. */
  readonly key_set: string;
  readonly set_at: number;
  readonly set_by: string;
}

export interface ReleaseTable {
  /** SHA-256 of the signed manifest bytes. */
  readonly digest: Digest;
  readonly model: ModelName;
  readonly version: Version;
  readonly parent: Digest | null;
  /** The DSSE envelope exactly as it was published: the manifest is its payload. */
  readonly envelope: string;
  readonly published_at: number;
  readonly published_by: string;
}

export interface RegistryTables {
  publisher_key_sets: PublisherKeySetTable;
  releases: ReleaseTable;
}
