/** Each version of each metadata file, as it is served; never changed and never deleted. */
export interface MetadataFileTable {
  /** `root`, `targets`, `snapshot`, `timestamp`, or the name of a model. */
  readonly role: string;
  readonly version: number;
  /** The file: JSON in UTF-8. */
  readonly body: string;
  readonly expires_at: number;
  readonly stored_at: number;
  readonly stored_by: string;
}

export interface RepositoryTables {
  metadata_files: MetadataFileTable;
}
