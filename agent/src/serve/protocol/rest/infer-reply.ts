import { dataToJson } from '../../tensors/json.js';
import { toBytes } from '../../tensors/tensor.js';
import type { AnsweredOutput, InferAnswer } from '../infer.js';
import { placeParameters } from '../parameters.js';

/** `inference_response`: JSON, and after it the outputs that were asked for as bytes, in their order (Triton's binary tensor extension). */
export interface InferReply {
  readonly json: string;
  readonly binary: readonly Uint8Array[];
}

export function inferReply(
  { model, version, id, parameters, outputs }: InferAnswer,
  isBinary: (output: string) => boolean,
): InferReply {
  const binary: Uint8Array[] = [];
  const toJson = ({ name, tensor, place }: AnsweredOutput): string => {
    const head = { name, datatype: tensor.datatype, shape: tensor.shape };
    if (place) return JSON.stringify({ ...head, parameters: placeParameters(place) });
    if (!isBinary(name)) return `${JSON.stringify(head).slice(0, -1)},"data":${dataToJson(tensor)}}`;
    const bytes = toBytes(tensor);
    binary.push(bytes);
    return JSON.stringify({ ...head, parameters: { binary_data_size: bytes.length } });
  };
  const head = JSON.stringify({ model_name: model, model_version: version, id, parameters });
  return { json: `${head.slice(0, -1)},"outputs":[${outputs.map(toJson).join(',')}]}`, binary };
}
