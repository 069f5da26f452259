import { Type, type Static } from 'typebox';
import { digestOf, NAME_PATTERN, type Digest, type ModelName, type Version } from '../ids/index.js';
import {
  PARAMETERS_FORMAT,
  parametersContent,
  parametersOf,
  parseRelease,
  type ParametersManifest,
} from '../manifest/index.js';

/** What somebody writes by hand: the parameters of one model, for all sites. */
export const ParametersDraft = Type.Object(
  { model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })), ...parametersContent },
  { additionalProperties: false },
);
export type ParametersDraft = Static<typeof ParametersDraft>;

export interface ParametersIssue {
  readonly version: Version;
  readonly createdAt: Date;
  /** The release that this one continues. */
  readonly parent?: Digest | undefined;
}

/** @throws ManifestError when the draft does not make a valid manifest; IdError where the name of the model is too long to have parameters */
export function assembleParametersRelease(
  { model, description, compatible, parameters, sites, revertFloor }: ParametersDraft,
  { version, createdAt, parent }: ParametersIssue,
) {
  const manifestBytes = Buffer.from(
    JSON.stringify({
      format: PARAMETERS_FORMAT,
      model: parametersOf(model),
      version,
      createdAt: createdAt.toISOString(),
      description,
      compatible,
      parameters,
      sites,
      revertFloor,
      lineage: { ...(parent && { parent }), data: [] },
    } satisfies Record<keyof ParametersManifest, unknown>),
  );
  return {
    manifest: parseRelease(manifestBytes) as ParametersManifest,
    digest: digestOf(manifestBytes),
    manifestBytes,
    files: new Map<Digest, Uint8Array>(),
  };
}
