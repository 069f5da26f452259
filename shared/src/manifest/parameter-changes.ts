import type { ParameterValue } from './parameter.js';
import { valuesFor, type ParametersManifest, type ParameterValues } from './parameters.js';

type Content = Pick<ParametersManifest, 'parameters' | 'sites'>;

/** `before` is absent where the parameter is new, `after` where it is gone. */
export interface ParameterChange {
  readonly name: string;
  readonly before?: ParameterValue;
  readonly after?: ParameterValue;
}

/** What one site gets; `site` is absent for every site that is not named. */
export interface SiteValues {
  readonly site?: string;
  readonly values: ParameterValues;
  /** Against the release before; empty without one, because everything is new then. */
  readonly changes: ParameterChange[];
}

/**
 * What each site gets, the unnamed ones first, and how that differs from an earlier release. A site that only the earlier one named is listed too:
 * what it gets has changed.
 */
export function siteValues(after: Content, before?: Content): SiteValues[] {
  const named = new Set([...Object.keys(after.sites), ...Object.keys(before?.sites ?? {})]);
  return [undefined, ...[...named].sort()].map((site) => {
    const values = valuesFor(after, site);
    const changes = before === undefined ? [] : changesOf(valuesFor(before, site), values);
    return { ...(site === undefined ? {} : { site }), values, changes };
  });
}

function changesOf(earlier: ParameterValues, later: ParameterValues): ParameterChange[] {
  // Maps, because a parameter may be called like something that every object has: `constructor`.
  const [before, after] = [new Map(Object.entries(earlier)), new Map(Object.entries(later))];
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => {
      const [was, is] = [before.get(name), after.get(name)];
      return { name, ...(was === undefined ? {} : { before: was }), ...(is === undefined ? {} : { after: is }) };
    });
}
