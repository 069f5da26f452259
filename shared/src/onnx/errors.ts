import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const ONNX_CODES = {
  /** The bytes are no ONNX model: garbage, cut short, or without a graph. */
  ONNX_NOT_A_MODEL: { fault: 'caller', retryable: false },
  ONNX_TOO_LARGE: { fault: 'caller', retryable: false },
  /** Weights in files beside the model are refused: a release names every file that it consists of. */
  ONNX_EXTERNAL_DATA: { fault: 'caller', retryable: false },
  /** An input, output or tensor that the Open Inference Protocol has no datatype for. */
  ONNX_UNSUPPORTED_TYPE: { fault: 'caller', retryable: false },
  /** The default operator set is older than 7, or missing. */
  ONNX_UNSUPPORTED_OPSET: { fault: 'caller', retryable: false },
  /** An operator of a domain that ONNX Runtime does not ship. */
  ONNX_UNSUPPORTED_OPERATOR: { fault: 'caller', retryable: false },
  /** A tensor whose dimensions do not fit its data. */
  ONNX_TENSOR_INVALID: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class OnnxError extends CodedError<keyof typeof ONNX_CODES> {
  constructor(code: keyof typeof ONNX_CODES, what: string, facts: ErrorFacts) {
    super(ONNX_CODES, code, what, facts);
  }
}

export function notAModel(why: string, cause?: unknown): OnnxError {
  return new OnnxError('ONNX_NOT_A_MODEL', `This is no ONNX model: ${why}.`, {
    remedy: 'Export the model again and check that the file was copied whole.',
    cause,
  });
}
