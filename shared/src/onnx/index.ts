export { ONNX_CODES, OnnxError } from './errors.js';
export { decodeOnnx, encodeOnnx, DEFAULT_ONNX_LIMITS, type OnnxLimits } from './codec.js';
export { checkOnnx } from './check.js';
export { scanOnnx, scanOnnxFile, type RandomReader, type ScanBounds, type ScanRequest } from './scan.js';
export {
  defaultOpset,
  describeModel,
  graphOf,
  type InitializerDescription,
  type ModelDescription,
  type TensorDescription,
} from './describe.js';
export { ELEMENT_TYPES, toDatatype } from './element-types.js';
export {
  doubleTensor,
  floatTensor,
  int64Tensor,
  tensorDims,
  tensorElements,
  tensorValues,
  type TensorValues,
} from './tensor.js';
export { graph, model, node, replaceInitializers, valueInfo, type AttributeValue, type GraphParts } from './builder.js';
export { floatAttribute, intAttribute, tensorAttribute } from './attributes.js';
export type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  TypeProto,
  ValueInfoProto,
} from './generated/onnx_pb.js';
export { servable, type RemovedZipMap, type Repairs } from './repairs.js';
