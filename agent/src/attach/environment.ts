export interface ProgramSubject {
  readonly searchPath: string;
  readonly model: string;
  /** The link, or the folder that is looked at. */
  readonly path: string;
  /** Undefined where nothing is to be run (any more). */
  readonly version: string | undefined;
  /** Digest of the model file. */
  readonly loaded: string | undefined;
}

/** All that programs of an application are given (docs/protocol.md, section 14). */
export const applicationEnvironment = ({ searchPath, model, path, version = '', loaded = '' }: ProgramSubject) => ({
  PATH: searchPath,
  DROVER_MODEL: model,
  DROVER_PATH: path,
  DROVER_VERSION: version,
  DROVER_DIGEST: loaded,
});
