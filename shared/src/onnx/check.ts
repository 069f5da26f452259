import { describeModel, defaultOpset } from './describe.js';
import { OnnxError } from './errors.js';
import type { ModelProto } from './generated/onnx_pb.js';
import { externalData, isExternal } from './tensor.js';
import { nodesOf, tensorsOf } from './walk.js';

const MIN_OPSET = 7;
/** The domains whose operators ONNX Runtime ships. '' and 'ai.onnx' are the same one. */
const RUNTIME_DOMAINS = new Set(['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft']);

/**
 * Whether a decoded model can be a release: one file, tensors in and out, operators and operator set that ONNX Runtime knows. Graph-level
 * validity (types of inner values, versions of single operators) is left to the runtime, which loads it before anything is published.
 *
 * @throws OnnxError ONNX_EXTERNAL_DATA, ONNX_UNSUPPORTED_OPSET, ONNX_UNSUPPORTED_OPERATOR, ONNX_UNSUPPORTED_TYPE, ONNX_TENSOR_INVALID,
 *   ONNX_NOT_A_MODEL
 */
export function checkOnnx(model: ModelProto): void {
  for (const tensor of tensorsOf(model)) if (isExternal(tensor)) throw externalData(tensor.name);
  const opset = defaultOpset(model);
  if (opset < MIN_OPSET) {
    throw new OnnxError(
      'ONNX_UNSUPPORTED_OPSET',
      `The model uses operator set ${opset}; ${MIN_OPSET} is the oldest supported.`,
      {
        remedy:
          'Export it again for a later operator set, or convert it (in Python: onnx.version_converter.convert_version).',
      },
    );
  }
  for (const { domain, opType, name } of nodesOf(model)) {
    if (RUNTIME_DOMAINS.has(domain)) continue;
    throw new OnnxError('ONNX_UNSUPPORTED_OPERATOR', `The node "${name}" is ${domain}.${opType}, a custom operator.`, {
      remedy: 'Export the model with standard operators only: custom operator libraries cannot be delivered.',
      where: name,
    });
  }
  // Reads every input, output and initializer, and refuses what has no protocol datatype.
  describeModel(model);
}
