import type { Digest, ModelName, Version } from '@drover/shared/ids';
import { modelOfParameters, type ParameterValues } from '@drover/shared/manifest';

export const VALUES_FORMAT = 'drover.parameter-values/1';

/** What applications get, over HTTP and as a file: the values of this site, and where they come from. */
export interface ValuesDocument {
  readonly format: typeof VALUES_FORMAT;
  readonly model: ModelName;
  readonly version: Version;
  /** Of the signed manifest. */
  readonly digest: Digest;
  /** Absent on a device that was enrolled without a site. */
  readonly site?: string;
  readonly values: ParameterValues;
}

/** The same bytes for the same release and site, so that their digest says what is in force. */
export const valuesDocument = (given: {
  readonly line: ModelName;
  readonly release: { readonly version: Version; readonly digest: Digest };
  readonly site: string | undefined;
  readonly values: ParameterValues;
}): Buffer => {
  const document: ValuesDocument = {
    format: VALUES_FORMAT,
    model: modelOfParameters(given.line),
    version: given.release.version,
    digest: given.release.digest,
    ...(given.site === undefined ? {} : { site: given.site }),
    values: given.values,
  };
  return Buffer.from(`${JSON.stringify(document)}\n`);
};
