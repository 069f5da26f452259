import { Compile } from 'typebox/compile';
import { binaryTensor } from '../binary-tensor.js';
import type { InferCall, PlacedTensor } from '../infer.js';
import { invalid } from '../invalid.js';
import { readTensor } from '../../tensors/json.js';
import { bytesPerElement, elementsOf, type ModelTensor } from '../../tensors/tensor.js';
import type { InstalledModel } from '../../../update/ports.js';
import { deadlineOf, placeOf, priorityOf, sequenceOf, wantedOutput } from '../parameters.js';
import { InferBody } from './bodies.js';
import { parseHead, type RequestBody } from './request-body.js';
import type { ModelRoute } from './routes.js';

export interface InferRequest {
  readonly call: InferCall;
  /** Whether an output goes back as bytes after the JSON (Triton's binary tensor extension). */
  readonly isBinary: (output: string) => boolean;
}

/** Compiled, since every inference passes it. */
const compiled = Compile(InferBody);
const isInferBody = (json: unknown): json is InferBody => compiled.Check(json);

/** @throws ServeError REQUEST_INVALID */
export function readInferRequest(
  { model, version }: ModelRoute,
  { head, tail }: RequestBody,
  find: () => InstalledModel,
): InferRequest {
  if (tail && head.length === 0) return rawRequest({ model, version }, tail, find());
  const { id, inputs, outputs, parameters } = parseHead(head, InferBody, isInferBody);
  const binary = new Map(outputs?.map(({ name, parameters: given }) => [name, given?.binary_data]));
  const parts = tailReader(tail);
  const tensors = inputs.map(
    ({ name, shape, datatype, data, parameters: given }): [string, ModelTensor | PlacedTensor] => {
      const place = placeOf(name, given);
      if (place && (data !== undefined || given?.binary_data_size !== undefined))
        throw invalid(`the input ${JSON.stringify(name)} lies in shared memory and in the body`);
      if (place) return [name, { datatype, shape, place }];
      const size = given?.binary_data_size;
      if (size === undefined) return [name, readTensor(name, datatype, shape, data)];
      if (data !== undefined) throw invalid(`the input ${JSON.stringify(name)} has both data and binary_data_size`);
      return [name, binaryTensor({ name, datatype, shape, bytes: parts.take(name, size) })];
    },
  );
  parts.end();
  return {
    call: {
      model,
      version,
      // Triton's clients send an empty one where the application gives none.
      id: id === '' ? undefined : id,
      inputs: tensors,
      priority: priorityOf(parameters),
      deadlineMs: deadlineOf(parameters),
      sequence: sequenceOf(parameters),
      splitKey: parameters?.drover_split_key,
      // None asked for by name: all.
      outputs: outputs?.length ? outputs.map(({ name, parameters: given }) => wantedOutput(name, given)) : undefined,
    },
    isBinary: (output) => binary.get(output) ?? parameters?.binary_data_output ?? false,
  };
}

/** "Raw binary request": no JSON at all, for a model of one input whose shape follows from the number of bytes. */
function rawRequest(
  route: Pick<InferCall, 'model' | 'version'>,
  bytes: Uint8Array,
  { variant }: InstalledModel,
): InferRequest {
  const [input, ...others] = variant.signature.inputs;
  if (!input || others.length > 0) throw invalid('a body without a JSON part is for models of one input');
  const { name, datatype } = input;
  return {
    call: { ...route, inputs: [[name, binaryTensor({ name, datatype, shape: rawShape(input, bytes.length), bytes })]] },
    isBinary: () => true,
  };
}

function rawShape({ name, datatype, shape }: InstalledModel['variant']['signature']['inputs'][number], bytes: number) {
  // The protocol has the first axis be a batch of one.
  const concrete = shape.map((axis, index) => (axis === -1 && index === 0 && shape.length > 1 ? 1 : axis));
  const open = concrete.filter((axis) => axis === -1).length;
  if (datatype === 'BYTES') return concrete.map((axis) => (axis === -1 ? 1 : axis));
  if (open > 1) throw invalid(`the shape of ${JSON.stringify(name)} does not follow from a number of bytes`);
  const rest = elementsOf(concrete.filter((axis) => axis !== -1));
  return concrete.map((axis) => (axis === -1 ? bytes / (rest * bytesPerElement(datatype)) : axis));
}

/** Hands out the binary part, tensor after tensor. */
function tailReader(tail: Uint8Array = new Uint8Array()) {
  let offset = 0;
  return {
    take(name: string, size: number): Uint8Array {
      if (size > tail.length - offset) throw invalid(`the body ends before the bytes of ${JSON.stringify(name)}`);
      offset += size;
      return tail.subarray(offset - size, offset);
    },
    end(): void {
      if (offset !== tail.length) throw invalid(`the body has ${tail.length - offset} bytes that belong to no input`);
    },
  };
}
