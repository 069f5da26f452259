import { randomUUID } from 'node:crypto';
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
  readonly parameters: { readonly drover_parameters: string } | undefined;
  readonly outputs: readonly AnsweredOutput[];
}

export interface InferTools {
  readonly models: ServedModels;
  readonly memory: SharedMemory;
}

/**
 * Whatever every request passes makes its objects with all their properties at once: a spread costs as much as a layer of the protocol, and keeps what it made alive for long.
 *
 * @param signal the client has gone
 * @throws ServeError MODEL_NOT_SERVED, REQUEST_*, INPUT_CONTRACT_VIOLATED, MODEL_RUN_FAILED, SERVE_OVERLOADED, SEQUENCE_*, SHARED_MEMORY_OFF
 */
export async function infer(
  call: InferCall,
  { models, memory }: InferTools,
  signal: ClientSignal | undefined,
): Promise<InferAnswer> {
  const { version, priority, sequence, deadlineMs, splitKey } = call;
  const found = models.find(call.model, version);
  const { model, variant } = found;
  const requestId = call.id ?? randomUUID();
  for (const { name, place, classes } of call.outputs ?? []) {
    if (!variant.signature.outputs.some((output) => output.name === name))
      throw invalid(`${model} has no output ${JSON.stringify(name)}`);
    if (place) memory.demand(place);
    if (classes !== undefined) demandClassifiable(found, name);
  }
  const inputs = byName(call.inputs.every(isGiven) ? call.inputs : await readPlaced(call.inputs, memory));
  const request = { model, version, requestId, inputs, priority, sequence, deadlineMs, signal, splitKey };
  const response = await models.infer(request);
  const wanted: readonly WantedOutput[] = call.outputs ?? variant.signature.outputs;
  const outputs: AnsweredOutput[] = [];
  for (const { name, place, classes } of wanted) {
    let tensor = outputOf(response.outputs, name);
    if (classes !== undefined) {
      const served = response.version === found.release.version ? found : models.find(call.model, response.version);
      tensor = classified(served, name, tensor, classes);
    }
    outputs.push({ name, place, classes, tensor });
  }
  for (const { place, tensor } of outputs) if (place) await memory.write(place, toBytes(tensor));
  const { parameters } = response;
  return {
    model,
    version: response.version,
    id: requestId,
    parameters: parameters && { drover_parameters: parameters.release.version },
    outputs,
  };
}

type Given = readonly [name: string, tensor: ModelTensor];

const isGiven = (input: InferCall['inputs'][number]): input is Given => !('place' in input[1]);

function readPlaced(inputs: InferCall['inputs'], memory: SharedMemory): Promise<Given[]> {
  return Promise.all(
    inputs.map(async ([name, given]): Promise<Given> => {
      if (!('place' in given)) return [name, given];
      return [name, binaryTensor({ ...given, name, bytes: await memory.read(given.place) })];
    }),
  );
}

function byName(inputs: readonly Given[]): TensorMap {
  const named = Object.fromEntries(inputs);
  if (Object.keys(named).length === inputs.length) return named;
  const names = inputs.map(([name]) => name);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  throw invalid(`the input ${JSON.stringify(twice)} is given twice`);
}

/** A release that took over between the look-up and the run may lack an output: then the request is answered for what serves now. */
function outputOf(outputs: TensorMap, name: string): ModelTensor {
  const tensor = outputs[name];
  if (tensor) return tensor;
  throw invalid(`the model that serves now has no output ${JSON.stringify(name)}`);
}
