import type { ModelName } from '@drover/shared/ids';
import { orderKindOf, type OrderKind } from '@drover/shared/manifest';
import { agentKind } from './agent.js';
import type { Kind } from './kind.js';
import { modelKind } from './model.js';
import { parametersKind } from './parameters.js';
import { trialKind } from './trial.js';

export type { DeviceFacts, Installable, InstalledOf, Kind, KindContext, Runners, Watch } from './kind.js';

/** Every kind of order that this agent knows. */
const KINDS: { readonly [K in OrderKind]: Kind<K> } = {
  model: modelKind,
  agent: agentKind,
  parameters: parametersKind,
  trial: trialKind,
};

/** A row whose kind is not known to the compiler: what it is given has to be what it gave, which the name in the order sees to. */
export type AnyKind = Kind<OrderKind>;

/** The row for the name that stands in an order. */
export const kindFor = (name: ModelName): AnyKind => KINDS[orderKindOf(name)];

/** The kinds of orders that this device carries out; it says so in its `state` (docs/protocol.md, section 5). */
export const kindsTaken = (runners: Parameters<AnyKind['unable']>[0]): OrderKind[] =>
  (Object.keys(KINDS) as OrderKind[]).filter((kind) => KINDS[kind].unable(runners) === undefined);
