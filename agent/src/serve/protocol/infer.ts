import { randomUUID } from 'node:crypto';
import { ModelName } from '@drover/shared/ids';
import type { ServedModels } from '../inline/served-models.js';
import type { ClientSignal } from '../scheduling/run-queue.js';
import type { SequenceControl } from '../sequences/sequences.js';
import { toBytes, type ModelTensor, type TensorMap } from '../tensors/tensor.js';
import { binaryTensor } from './binary-tensor.js';
import { classified, demandClassifiable } from './classification.js';
import { invalid } from './invalid.js';
import type { Place, SharedMemory } from './shared-memory.js';

/** One inference as either form of the protocol asks for it. */
export interface InferCall {
  readonly model: string;
  readonly version?: string | undefined;
  /** Made up where it is missing: ground truth may be sent for it later. */
  readonly id?: string | undefined;
  /** While a release is tried: in place of the id. */
  readonly splitKey?: string | undefined;
  readonly inputs: readonly (readonly [name: string, tensor: ModelTensor | PlacedTensor])[];
  /** All where none are given. */
  readonly outputs?: readonly WantedOutput[] | undefined;
  /** 1 is the highest (Triton's schedule-policy extension). */
  readonly priority?: number | undefined;
  /** For a recurrent model (Triton's sequence extension). */
  readonly sequence?: SequenceControl | undefined;
  /** By `performance.now()`. */
  readonly deadlineMs?: number | undefined;
  /** The client has gone. */
  readonly signal?: ClientSignal | undefined;
}

/** An input that lies in shared memory. */
export interface PlacedTensor {
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly place: Place;
}

export interface WantedOutput {
  readonly name: string;
  /** In shared memory, in place of the answer. */
  readonly place?: Place | undefined;
  /** So many of its highest elements in its place (Triton's classification extension). */
  readonly classes?: number | undefined;
}

export interface AnsweredOutput extends WantedOutput {
  readonly tensor: ModelTensor;
}

export interface InferAnswer {
  readonly model: string;
  readonly version: string;
  readonly id: string;
  /** Response parameters of the protocol: an application sees by it that the values which it has read are no longer those in force. */
  readonly parameters?: { readonly drover_parameters: string };
  readonly outputs: readonly AnsweredOutput[];
}

export interface InferTools {
  readonly models: ServedModels;
  readonly memory: SharedMemory;
}

/** @throws ServeError MODEL_NOT_SERVED, REQUEST_*, INPUT_CONTRACT_VIOLATED, MODEL_RUN_FAILED, SERVE_OVERLOADED, SEQUENCE_*, SHARED_MEMORY_OFF */
export async function infer(call: InferCall, { models, memory }: InferTools): Promise<InferAnswer> {
  const found = models.find(call.model, call.version);
  const { model, variant } = found;
  const requestId = call.id ?? randomUUID();
  const wanted: readonly WantedOutput[] = call.outputs ?? variant.signature.outputs.map(({ name }) => ({ name }));
  const unknown = wanted.find(({ name }) => !variant.signature.outputs.some((output) => output.name === name));
  if (unknown !== undefined) throw invalid(`${model} has no output ${JSON.stringify(unknown.name)}`);
  for (const { name, place, classes } of wanted) {
    if (place) memory.demand(place);
    if (classes !== undefined) demandClassifiable(found, name);
  }
  const inputs = await byName(call.inputs, memory);
  const version = call.version === undefined ? {} : { version: call.version };
  const { priority, sequence, deadlineMs, signal, splitKey } = call;
  const schedule = { priority, sequence, deadlineMs, signal, splitKey };
  const response = await models.infer({ model: ModelName(model), requestId, inputs, ...version, ...schedule });
  const outputs = wanted.map((each) => {
    const tensor = outputOf(response.outputs, each.name);
    if (each.classes === undefined) return { ...each, tensor };
    const served = response.version === found.release.version ? found : models.find(call.model, response.version);
    return { ...each, tensor: classified(served, each.name, tensor, each.classes) };
  });
  for (const { place, tensor } of outputs) if (place) await memory.write(place, toBytes(tensor));
  const { parameters } = response;
  return {
    model,
    version: response.version,
    id: requestId,
    ...(parameters && { parameters: { drover_parameters: parameters.release.version } }),
    outputs,
  };
}

async function byName(inputs: InferCall['inputs'], memory: SharedMemory): Promise<TensorMap> {
  const named = new Map<string, ModelTensor>();
  for (const [name, given] of inputs) {
    if (named.has(name)) throw invalid(`the input ${JSON.stringify(name)} is given twice`);
    named.set(name, 'place' in given ? binaryTensor({ ...given, name, bytes: await memory.read(given.place) }) : given);
  }
  return Object.fromEntries(named);
}

/** A release that took over between the look-up and the run may lack an output: then the request is answered for what serves now. */
function outputOf(outputs: TensorMap, name: string): ModelTensor {
  const tensor = outputs[name];
  if (tensor) return tensor;
  throw invalid(`the model that serves now has no output ${JSON.stringify(name)}`);
}
