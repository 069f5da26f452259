import { ModelName } from '../ids/index.js';

/**
 * What is published, ordered and rolled out: releases of models, of the agent itself, and of the parameters of a model. Each is a line of its own
 * in the release repository, and the name of the line says of which kind it is (docs/protocol.md, section 3): a device knows it from the order
 * alone, before it has fetched anything.
 */
export const RELEASE_KINDS = ['model', 'agent', 'parameters'] as const;
export type ReleaseKind = (typeof RELEASE_KINDS)[number];

/** The reserved name under which the agent itself is released. */
export const AGENT_MODEL = 'drover-agent' as ModelName;

/** Reserved: parameters of the model `m` are released as `m--parameters`. */
const PARAMETERS_SUFFIX = '--parameters';

export function kindOf(name: ModelName): ReleaseKind {
  if (name === AGENT_MODEL) return 'agent';
  return name.endsWith(PARAMETERS_SUFFIX) && name !== PARAMETERS_SUFFIX ? 'parameters' : 'model';
}

/** The name under which the parameters of a model are released. @throws IdError where the model's name leaves no room for it */
export const parametersOf = (model: ModelName): ModelName => ModelName(`${model}${PARAMETERS_SUFFIX}`);

/** The model that a line of parameters is for. */
export const modelOfParameters = (line: ModelName): ModelName => line.slice(0, -PARAMETERS_SUFFIX.length) as ModelName;
