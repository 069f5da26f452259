import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Datatype } from '@drover/shared/manifest';
import {
  allocate,
  elementsOf,
  isDatatype,
  MAX_RANK,
  toBytes,
  type ModelTensor,
  type NumericDatatype,
} from '../../tensors/tensor.js';
import { binaryTensor } from '../binary-tensor.js';
import type { InferAnswer, InferCall } from '../infer.js';
import { invalid } from '../invalid.js';
import {
  deadlineOf,
  OutputParameters,
  PlaceParameters,
  placeOf,
  placeParameters,
  priorityOf,
  RequestParameters,
  sequenceOf,
  wantedOutput,
} from '../parameters.js';
import {
  ModelInferResponseSchema,
  type InferTensorContentsSchema,
  type InferTensorContents,
  type ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
  type ModelInferResponse,
} from './generated/inference_pb.js';
import { readParameters, writeParameters } from './infer-parameters.js';

type Contents = Exclude<keyof InferTensorContents, '$typeName' | '$unknown'>;

/** Where the elements of a datatype stand (`InferTensorContents`); FP16 has no place there. */
const CONTENTS: Readonly<Record<Exclude<Datatype, 'FP16'>, Contents>> = {
  BOOL: 'boolContents',
  UINT8: 'uintContents',
  UINT16: 'uintContents',
  UINT32: 'uintContents',
  UINT64: 'uint64Contents',
  INT8: 'intContents',
  INT16: 'intContents',
  INT32: 'intContents',
  INT64: 'int64Contents',
  FP32: 'fp32Contents',
  FP64: 'fp64Contents',
  BYTES: 'bytesContents',
};
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * @param deadlineMs of the call (grpc-timeout), by `performance.now()`
 * @throws ServeError REQUEST_INVALID
 */
export function toCall(request: ModelInferRequest, deadlineMs: number | undefined): InferCall {
  const { modelName, modelVersion, id, parameters, inputs, outputs, rawInputContents: raw } = request;
  const places = inputs.map(placeIn);
  const inBody = places.filter((place) => place === undefined).length;
  if (raw.length > 0 && raw.length !== inBody)
    throw invalid(`there are ${raw.length} raw_input_contents for ${inBody} inputs`);
  let next = 0;
  const given = readParameters(RequestParameters, parameters);
  return {
    model: modelName,
    version: modelVersion === '' ? undefined : modelVersion,
    id: id === '' ? undefined : id,
    priority: priorityOf(given),
    deadlineMs: earlier(deadlineOf(given), deadlineMs),
    sequence: sequenceOf(given),
    splitKey: given.drover_split_key,
    inputs: inputs.map((input, index) => {
      const place = places[index];
      if (place) return [input.name, { datatype: input.datatype, shape: shapeOf(input), place }];
      return [input.name, toTensor(input, raw[next++])];
    }),
    outputs:
      outputs.length === 0
        ? undefined
        : outputs.map(({ name, parameters: said }) => wantedOutput(name, readParameters(OutputParameters, said))),
  };
}

const earlier = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);

const placeIn = ({ name, parameters }: Pick<ModelInferRequest_InferInputTensor, 'name' | 'parameters'>) =>
  placeOf(name, readParameters(PlaceParameters, parameters));

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

function shapeOf({ name, shape: given }: ModelInferRequest_InferInputTensor): number[] {
  const shape = given.map(Number);
  if (shape.length <= MAX_RANK && shape.every(isSize)) return shape;
  throw invalid(`the input ${JSON.stringify(name)} has a shape that no tensor has`);
}

function toTensor(input: ModelInferRequest_InferInputTensor, bytes: Uint8Array | undefined): ModelTensor {
  const { name, datatype } = input;
  const quoted = JSON.stringify(name);
  const shape = shapeOf(input);
  if (bytes) return binaryTensor({ name, datatype, shape, bytes });
  if (!isDatatype(datatype)) throw invalid(`the input ${quoted} has the datatype ${JSON.stringify(datatype)}`);
  if (datatype === 'FP16') throw invalid(`the input ${quoted} is FP16, which travels in raw_input_contents only`);
  const elements = input.contents?.[CONTENTS[datatype]] ?? [];
  if (elements.length !== elementsOf(shape))
    throw invalid(
      `the input ${quoted} holds ${elements.length} elements in ${CONTENTS[datatype]}, its shape [${shape.join(', ')}] asks for ${elementsOf(shape)}`,
    );
  if (datatype === 'BYTES')
    return { datatype, shape, data: (elements as Uint8Array[]).map((each) => text(each, quoted)) };
  return { datatype, shape, data: numbers(datatype, elements as number[] | bigint[] | boolean[], quoted) };
}

function text(bytes: Uint8Array, input: string): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw invalid(`the input ${input} has a string that is no UTF-8`, cause);
  }
}

function numbers(datatype: NumericDatatype, elements: readonly (number | bigint | boolean)[], input: string) {
  const data = allocate(datatype, elements.length);
  for (const [index, element] of elements.entries()) {
    const value = typeof element === 'boolean' ? Number(element) : element;
    data[index] = value;
    // Eight and sixteen bits travel as 32; what does not come back the same did not fit.
    if (datatype !== 'FP32' && datatype !== 'FP64' && data[index] !== value)
      throw invalid(`the input ${input} has an element ${index} that is no ${datatype}`);
  }
  return data;
}

/** Raw where the request was, and where an output is FP16; else element by element. */
export function toResponse(answer: InferAnswer, { rawInputContents }: ModelInferRequest): ModelInferResponse {
  const { model, version, id, parameters, outputs } = answer;
  const isRaw = rawInputContents.length > 0 || outputs.some(({ tensor }) => tensor.datatype === 'FP16');
  return create(ModelInferResponseSchema, {
    modelName: model,
    modelVersion: version,
    id,
    parameters: writeParameters(parameters ?? {}),
    outputs: outputs.map(({ name, tensor, place }) => ({
      name,
      datatype: tensor.datatype,
      shape: tensor.shape.map(BigInt),
      ...(place
        ? { parameters: writeParameters(placeParameters(place)) }
        : isRaw
          ? {}
          : { contents: toContents(tensor) }),
    })),
    rawOutputContents: isRaw ? outputs.filter(({ place }) => !place).map(({ tensor }) => toBytes(tensor)) : [],
  });
}

function toContents({ datatype, data }: ModelTensor): MessageInitShape<typeof InferTensorContentsSchema> {
  if (datatype === 'BYTES') return { bytesContents: data.map((each) => Buffer.from(each, 'utf8')) };
  if (datatype === 'FP16') throw new Error('FP16 travels raw only');
  if (datatype === 'BOOL') return { boolContents: Array.from(data as Uint8Array, Boolean) };
  return { [CONTENTS[datatype]]: Array.from<number | bigint>(data) };
}
