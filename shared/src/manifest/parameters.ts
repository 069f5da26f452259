import { satisfies, validRange } from 'semver';
import { Type, type Static } from 'typebox';
import { NAME_PATTERN, Version, type ModelName } from '../ids/index.js';
import { formatProblems, type Problem } from '../validation/index.js';
import { ManifestError } from './errors.js';
import { declarationProblems, Parameter, ParameterValue, valueProblem } from './parameter.js';
import { createdAt, Lineage, version } from './schema.js';

export const PARAMETERS_FORMAT = 'drover.parameters/1';

const strict = { additionalProperties: false } as const;
const PARAMETER_NAME = '^[a-z][A-Za-z0-9_]{0,63}(\\.[a-z][A-Za-z0-9_]{0,63}){0,3}$';
/** The label that a device was enrolled with (attribute `site`). */
const SITE_NAME = '^[^\\u0000-\\u001f]{1,200}$';

/** Most parameters of one model, and most sites with values of their own. A manifest of 1 MiB is the other bound. */
const MAX_PARAMETERS = 256;
const MAX_SITES = 10_000;

export const ParameterValues = Type.Record(Type.String({ pattern: PARAMETER_NAME }), ParameterValue, {
  ...strict,
  maxProperties: MAX_PARAMETERS,
});
export type ParameterValues = Static<typeof ParameterValues>;

/** What is written by hand; a release adds the rest. */
export const parametersContent = {
  description: Type.Optional(Type.String({ maxLength: 2000 })),
  /** Releases of the model that these parameters are for: a range of semver (node-semver's words), pre-releases within it included. */
  compatible: Type.String({ minLength: 1, maxLength: 200 }),
  parameters: Type.Record(Type.String({ pattern: PARAMETER_NAME }), Parameter, {
    ...strict,
    minProperties: 1,
    maxProperties: MAX_PARAMETERS,
  }),
  /** What differs from the defaults at a site. */
  sites: Type.Record(Type.String({ pattern: SITE_NAME }), ParameterValues, { ...strict, maxProperties: MAX_SITES }),
  /** The oldest release that the director may send a device back to on its own. */
  revertFloor: Type.Optional(version),
};

/** A release of the parameters of a model (docs/protocol.md, section 3): it has no files, the manifest says everything. */
export const ParametersManifest = Type.Object(
  {
    format: Type.Literal(PARAMETERS_FORMAT),
    model: Type.Unsafe<ModelName>(Type.String({ pattern: NAME_PATTERN })),
    version,
    createdAt,
    ...parametersContent,
    lineage: Lineage,
  },
  strict,
);
export type ParametersManifest = Static<typeof ParametersManifest>;

/** What the schema cannot say; all of it, not only the first. @throws ManifestError MANIFEST_INVALID; IdError */
export function checkParametersManifest(manifest: ParametersManifest): ParametersManifest {
  Version(manifest.version);
  if (manifest.revertFloor !== undefined) Version(manifest.revertFloor);
  const problems = [...rangeProblems(manifest), ...declaredProblems(manifest), ...siteProblems(manifest)];
  if (problems.length === 0) return manifest;
  throw new ManifestError('MANIFEST_INVALID', `The parameters contradict themselves: ${formatProblems(problems)}.`, {
    remedy: 'Mend the named values, look at them with `drover parameters lint`, and publish again.',
  });
}

export const satisfiesRange = (version: Version, range: string): boolean =>
  satisfies(version, range, { includePrerelease: true });

/** May a model of this version have these parameters? */
export const isCompatible = ({ compatible }: Pick<ParametersManifest, 'compatible'>, model: Version): boolean =>
  satisfiesRange(model, compatible);

/** What a site gets: its own values over the defaults, in the order in which they are declared. A site that is not named gets the defaults. */
export function valuesFor(
  { parameters, sites }: Pick<ParametersManifest, 'parameters' | 'sites'>,
  site: string | undefined,
): ParameterValues {
  const own = site !== undefined && Object.hasOwn(sites, site) ? sites[site] : undefined;
  return Object.fromEntries(
    Object.entries(parameters).map(([name, declared]) => {
      const value = own && Object.hasOwn(own, name) ? own[name] : undefined;
      return [name, value ?? declared.default];
    }),
  );
}

const rangeProblems = ({ compatible }: ParametersManifest): Problem[] =>
  validRange(compatible) === null ? [{ path: '/compatible', message: 'is no range of versions, such as ^1.2.0' }] : [];

const declaredProblems = ({ parameters }: ParametersManifest): Problem[] =>
  Object.entries(parameters).flatMap(([name, declared]) =>
    declarationProblems(declared).map((message) => ({ path: `/parameters/${name}`, message })),
  );

function siteProblems({ parameters, sites }: ParametersManifest): Problem[] {
  const problems: Problem[] = [];
  for (const [site, values] of Object.entries(sites)) {
    for (const [name, value] of Object.entries(values)) {
      const declared = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
      const message = declared ? valueProblem(declared, value) : 'is not declared under "parameters"';
      if (message !== undefined) problems.push({ path: `/sites/${site}/${name}`, message });
      if (problems.length === MAX_NAMED_PROBLEMS) return problems;
    }
  }
  return problems;
}

const MAX_NAMED_PROBLEMS = 20;
