import type { ModelName } from '@drover/shared/ids';
import { kindOf, type ReleaseKind } from '@drover/shared/manifest';
import { agentKind } from './agent.js';
import type { Kind } from './kind.js';
import { modelKind } from './model.js';
import { parametersKind } from './parameters.js';

export type { DeviceFacts, Installable, InstalledOf, Kind, KindContext, Runners, Watch } from './kind.js';

/** Every kind of release that this agent knows. */
const KINDS: { readonly [K in ReleaseKind]: Kind<K> } = {
  model: modelKind,
  agent: agentKind,
  parameters: parametersKind,
};

/** A row whose kind is not known to the compiler: what it is given has to be what it gave, which the name of the line sees to. */
export type AnyKind = Kind<ReleaseKind>;

/** The row for a line of releases, by its name. */
export const kindFor = (name: ModelName): AnyKind => KINDS[kindOf(name)];

/** The kinds of releases that this device carries out; it says so in its `state` (docs/protocol.md, section 5). */
export const kindsTaken = (runners: Parameters<AnyKind['unable']>[0]): ReleaseKind[] =>
  (Object.keys(KINDS) as ReleaseKind[]).filter((kind) => KINDS[kind].unable(runners) === undefined);
