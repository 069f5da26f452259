import { randomUUID } from 'node:crypto';
import type { TensorSignature } from '@drover/shared/manifest';
import { featureRows, inferencesIn, recordOf } from '../../serve/inline/observation.js';
import { binaryTensor } from '../../serve/protocol/binary-tensor.js';
import type { InferenceRecord, Predictions } from '../../serve/recorder.js';
import { readTensor } from '../../serve/tensors/json.js';
import {
  bytesPerElement,
  elementsOf,
  shapeFits,
  type ModelTensor,
  type NumericDatatype,
  type TensorMap,
} from '../../serve/tensors/tensor.js';
import type { InstalledModel } from '../../update/ports.js';
import { invalid, type ObservedInference, type ObservedTensor } from './messages.js';

export interface ReadObservation {
  /** As far as the application has told them. */
  readonly inputs: TensorMap;
  readonly record: InferenceRecord;
}

/**
 * What an attached application observed, as if the agent had served it: the same profiles, windows and gates are made of it.
 *
 * @param payload the bytes of the tensors, one after the other, where the message has the binary form
 * @throws AttachError OBSERVE_INVALID; ServeError REQUEST_INVALID for a tensor that is not what it says
 */
export function readObservation(
  message: ObservedInference,
  payload: Uint8Array | undefined,
  installed: InstalledModel,
  atMs: number,
): ReadObservation {
  const { features, latencyUs, failed = false } = message;
  const { signature } = installed.variant;
  if (features && message.inputs) throw invalid('it has both "features" and "inputs"');
  const tensors = readTensors([...(message.inputs ?? []), ...(message.outputs ?? [])], payload);
  const inputs = features
    ? { [featureInput(installed)]: rowsOf(features) }
    : byName(tensors.slice(0, message.inputs?.length ?? 0));
  const outputs = byName(tensors.slice(message.inputs?.length ?? 0));
  verifyTensors('input', inputs, signature.inputs);
  verifyTensors('output', outputs, signature.outputs);
  const rows = featureRows(inputs);
  const inferences =
    Object.keys(inputs).length === 0 && message.classes
      ? Math.max(1, message.classes.length)
      : inferencesIn(Object.keys(inputs).length > 0 ? inputs : outputs);
  const record = recordOf(installed, {
    requestId: message.id ?? randomUUID(),
    atMs,
    latencyUs,
    inferences,
    features: rows,
    outputs: failed ? undefined : outputs,
  });
  if (!failed) Object.assign(record, predictionsIn(message, installed));
  if (rows && record.predictions && record.predictions.classes.length !== rows.count)
    throw invalid(`it has ${rows.count} rows of features and ${record.predictions.classes.length} of answers`);
  return { inputs, record };
}

/** The input that rows of features are of. */
function featureInput({ variant }: InstalledModel): string {
  const [input, ...others] = variant.signature.inputs;
  if (input?.shape.length === 2 && others.length === 0) return input.name;
  throw invalid('"features" is for models with one input of two axes; send "inputs"');
}

function rowsOf(features: readonly (readonly number[])[]): ModelTensor {
  const width = features[0]?.length ?? 0;
  const data = new Float32Array(features.length * width);
  for (const [row, values] of features.entries()) {
    if (values.length !== width) throw invalid('its rows of features differ in length');
    data.set(values, row * width);
  }
  return { datatype: 'FP32', shape: [features.length, width], data };
}

/** Profiles compare rows with those of other devices: what the signed signature does not know must not get into them. */
function verifyTensors(kind: 'input' | 'output', tensors: TensorMap, signature: readonly TensorSignature[]): void {
  for (const [name, { datatype, shape }] of Object.entries(tensors)) {
    const signed = signature.find((each) => each.name === name);
    const what = `the ${kind} ${JSON.stringify(name)}`;
    if (!signed) throw invalid(`the model has no ${kind} ${JSON.stringify(name)}`);
    if (!shapeFits(shape, signed.shape))
      throw invalid(`${what} has the shape [${shape.join(', ')}], not [${signed.shape.join(', ')}]`);
    // The application may compute in another precision than the file has; strings are no numbers in any.
    if ((datatype === 'BYTES') !== (signed.datatype === 'BYTES'))
      throw invalid(`${what} is ${datatype}, not ${signed.datatype}`);
  }
}

function predictionsIn(
  { classes, confidences }: ObservedInference,
  { model, manifest: { task } }: InstalledModel,
): { readonly predictions?: Predictions } {
  if (!classes) return {};
  if (task.type !== 'classification')
    throw invalid(`${model} is a model for ${task.type}; "classes" are for classification`);
  if (confidences?.length !== classes.length) throw invalid('it has not as many "confidences" as "classes"');
  const count = task.labels?.length ?? Infinity;
  const beyond = classes.find((each) => each >= count);
  if (beyond !== undefined) throw invalid(`the model has ${count} classes, and none ${beyond}`);
  return { predictions: { classes: Int32Array.from(classes), confidences: Float32Array.from(confidences) } };
}

function readTensors(
  tensors: readonly ObservedTensor[],
  payload: Uint8Array | undefined,
): (readonly [name: string, tensor: ModelTensor])[] {
  let offset = 0;
  const read = tensors.map(({ name, datatype, shape, data }): readonly [string, ModelTensor] => {
    if (data) return [name, readTensor(name, datatype, shape, data)];
    if (!payload) throw invalid(`${JSON.stringify(name)} has no data`);
    if (datatype === 'BYTES') throw invalid('tensors of strings have their data in the JSON');
    const end = offset + elementsOf(shape) * bytesPerElement(datatype satisfies NumericDatatype);
    if (end > payload.length) throw invalid(`the message ends before the bytes of ${JSON.stringify(name)}`);
    const bytes = payload.subarray(offset, end);
    offset = end;
    return [name, binaryTensor({ name, datatype, shape, bytes })];
  });
  if (offset !== (payload?.length ?? 0)) throw invalid('it has bytes that belong to no tensor');
  return read;
}

function byName(tensors: readonly (readonly [string, ModelTensor])[] = []): TensorMap {
  const named = Object.fromEntries(tensors);
  if (Object.keys(named).length !== tensors.length) throw invalid('it has two tensors of one name');
  return named;
}
