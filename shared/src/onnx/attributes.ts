import { isFieldSet } from '@bufbuild/protobuf';
import { AttributeProtoSchema, type AttributeProto, type NodeProto, type TensorProto } from './generated/onnx_pb.js';

const find = (node: NodeProto, name: string): AttributeProto | undefined =>
  node.attribute.find((entry) => entry.name === name);

export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const found = find(node, name);
  return found && isFieldSet(found, AttributeProtoSchema.field.i) ? Number(found.i) : fallback;
}

export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  const found = find(node, name);
  return found && isFieldSet(found, AttributeProtoSchema.field.f) ? found.f : fallback;
}

export const tensorAttribute = (node: NodeProto, name: string): TensorProto | undefined => find(node, name)?.t;
