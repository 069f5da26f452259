import { ModelName } from '../ids/index.js';

/**
 * What is published, ordered and rolled out: releases of models, of the agent itself, and of the parameters of a model. Each is a line of its own
 * in the release repository, and the name of the line says of which kind it is (docs/protocol.md, section 3): a device knows it from the order
 * alone, before it has fetched anything.
 */
export const RELEASE_KINDS = ['model', 'agent', 'parameters'] as const;
export type ReleaseKind = (typeof RELEASE_KINDS)[number];

/** What can be ordered: to run a release of one of these kinds, or to try one of a model beside the one that serves. A trial is no release. */
export type OrderKind = ReleaseKind | 'trial';

/** The reserved name under which the agent itself is released. */
export const AGENT_MODEL = 'drover-agent' as ModelName;

/** Reserved: parameters of the model `m` are released as `m--parameters`. */
const PARAMETERS_SUFFIX = '--parameters';
/** Reserved: releases of the model `m` are tried under the name `m--trial`, under which nothing is released. */
const TRIAL_SUFFIX = '--trial';

const endsWith = (name: ModelName, suffix: string): boolean => name.endsWith(suffix) && name !== suffix;

export function kindOf(name: ModelName): ReleaseKind {
  if (name === AGENT_MODEL) return 'agent';
  return endsWith(name, PARAMETERS_SUFFIX) ? 'parameters' : 'model';
}

/** Of an order, by the name that stands in it. */
export const orderKindOf = (name: ModelName): OrderKind => (endsWith(name, TRIAL_SUFFIX) ? 'trial' : kindOf(name));

/** The name under which the parameters of a model are released. @throws IdError where the model's name leaves no room for it */
export const parametersOf = (model: ModelName): ModelName => ModelName(`${model}${PARAMETERS_SUFFIX}`);

/** The model that a line of parameters is for. */
export const modelOfParameters = (line: ModelName): ModelName => line.slice(0, -PARAMETERS_SUFFIX.length) as ModelName;

/** The name under which releases of a model are tried. @throws IdError where the model's name leaves no room for it */
export const trialOf = (model: ModelName): ModelName => ModelName(`${model}${TRIAL_SUFFIX}`);

/** The line whose release an order of this name means: of a trial that of its model, else the name itself. */
export const releaseLineOf = (name: ModelName): ModelName =>
  orderKindOf(name) === 'trial' ? (name.slice(0, -TRIAL_SUFFIX.length) as ModelName) : name;
