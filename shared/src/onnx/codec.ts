import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { notAModel, OnnxError } from './errors.js';
import { ModelProtoSchema, type ModelProto } from './generated/onnx_pb.js';
import { scanOnnx } from './scan.js';

export interface OnnxLimits {
  /** Largest model that is read; protobuf itself ends at 2 GiB. */
  readonly maxBytes: number;
}

export const DEFAULT_ONNX_LIMITS: OnnxLimits = { maxBytes: 1024 ** 3 };

/**
 * Reads the protobuf wire format (onnx.proto). Byte fields of the result are views on `bytes`, not copies. Says nothing about whether Drover
 * can run the model: `checkOnnx` does.
 *
 * @throws OnnxError ONNX_NOT_A_MODEL, ONNX_TOO_LARGE, ONNX_EXTERNAL_DATA, ONNX_UNSUPPORTED_OPERATOR (see `scan`), and nothing else
 */
export function decodeOnnx(bytes: Uint8Array, limits: OnnxLimits = DEFAULT_ONNX_LIMITS): ModelProto {
  if (bytes.length > limits.maxBytes) {
    throw new OnnxError('ONNX_TOO_LARGE', `The model has ${bytes.length} bytes; the limit is ${limits.maxBytes}.`, {
      remedy: 'Publish a smaller variant (quantised or pruned), or raise the limit.',
    });
  }
  // Before objects are made of it: bounds how many there will be.
  scanOnnx(bytes);
  let model: ModelProto;
  try {
    // A plain view: slices of a Buffer would be Buffers, whose `slice` does not copy.
    model = fromBinary(ModelProtoSchema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw notAModel('the bytes are not an ONNX protobuf, or are cut short', cause);
  }
  if (model.graph === undefined) throw notAModel('it has no graph');
  // Every version of the format since 2017 demands both. A file that was cut between two fields lacks one of them.
  if (model.irVersion < 1n || model.opsetImport.length === 0) {
    throw notAModel('it lacks the IR version or the operator sets');
  }
  return model;
}

/** The protobuf wire format, unknown fields included. The same model always gives the same bytes. */
export function encodeOnnx(model: ModelProto): Uint8Array {
  return toBinary(ModelProtoSchema, model);
}
