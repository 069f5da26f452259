import { randomUUID } from 'node:crypto';
import { ModelName } from '@drover/shared/ids';
import { ServeError } from '../errors.js';
import type { ServedModels } from '../inline/inline-serving.js';
import type { ModelTensor, TensorMap } from '../tensors/tensor.js';

/** One inference as either form of the protocol asks for it. */
export interface InferCall {
  readonly model: string;
  readonly version?: string | undefined;
  /** Made up where it is missing: ground truth may be sent for it later. */
  readonly id?: string | undefined;
  readonly inputs: readonly (readonly [name: string, tensor: ModelTensor])[];
  /** Names; all where none are given. */
  readonly outputs?: readonly string[] | undefined;
}

export interface InferAnswer {
  readonly model: string;
  readonly version: string;
  readonly id: string;
  /** Response parameters of the protocol: an application sees by it that the values which it has read are no longer those in force. */
  readonly parameters?: { readonly drover_parameters: string };
  readonly outputs: readonly (readonly [name: string, tensor: ModelTensor])[];
}

/** @throws ServeError MODEL_NOT_SERVED, REQUEST_INVALID, MODEL_RUN_FAILED */
export async function infer(call: InferCall, models: ServedModels): Promise<InferAnswer> {
  const { model, variant } = models.find(call.model, call.version);
  const requestId = call.id ?? randomUUID();
  const wanted = call.outputs ?? variant.signature.outputs.map(({ name }) => name);
  const unknown = wanted.find((name) => !variant.signature.outputs.some((output) => output.name === name));
  if (unknown !== undefined) throw invalid(`${model} has no output ${JSON.stringify(unknown)}`);
  const version = call.version === undefined ? {} : { version: call.version };
  const response = await models.infer({ model: ModelName(model), requestId, inputs: byName(call.inputs), ...version });
  const { parameters } = response;
  return {
    model,
    version: response.version,
    id: requestId,
    ...(parameters && { parameters: { drover_parameters: parameters.release.version } }),
    outputs: wanted.map((name) => [name, outputOf(response.outputs, name)]),
  };
}

function byName(inputs: InferCall['inputs']): TensorMap {
  const named = new Map<string, ModelTensor>();
  for (const [name, tensor] of inputs) {
    if (named.has(name)) throw invalid(`the input ${JSON.stringify(name)} is given twice`);
    named.set(name, tensor);
  }
  return Object.fromEntries(named);
}

/** A release that took over between the look-up and the run may lack an output: then the request is answered for what serves now. */
function outputOf(outputs: TensorMap, name: string): ModelTensor {
  const tensor = outputs[name];
  if (tensor) return tensor;
  throw invalid(`the model that serves now has no output ${JSON.stringify(name)}`);
}

export const invalid = (why: string, cause?: unknown): ServeError =>
  new ServeError('REQUEST_INVALID', `The request cannot be answered: ${why}.`, {
    remedy: 'Read the signature with GET /v2/models/{model}.',
    cause,
  });
