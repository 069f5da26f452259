import { clone, create } from '@bufbuild/protobuf';
import type { Datatype } from '../manifest/index.js';
import { graphOf } from './describe.js';
import { ELEMENT_TYPES } from './element-types.js';
import { OnnxError } from './errors.js';
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './generated/onnx_pb.js';
import { floatTensor, tensorDims } from './tensor.js';

/** ONNX tells integers from floats; a JavaScript number does not, so the type is spelled out. */
export type AttributeValue =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string }
  | { readonly tensor: TensorProto }
  | { readonly graph: GraphProto };

function attribute(name: string, value: AttributeValue): AttributeProto {
  if ('int' in value) return create(AttributeProtoSchema, { name, type: 2, i: BigInt(value.int) });
  if ('ints' in value) return create(AttributeProtoSchema, { name, type: 7, ints: value.ints.map(BigInt) });
  if ('float' in value) return create(AttributeProtoSchema, { name, type: 1, f: value.float });
  if ('floats' in value) return create(AttributeProtoSchema, { name, type: 6, floats: [...value.floats] });
  if ('string' in value)
    return create(AttributeProtoSchema, { name, type: 3, s: new TextEncoder().encode(value.string) });
  if ('tensor' in value) return create(AttributeProtoSchema, { name, type: 4, t: value.tensor });
  return create(AttributeProtoSchema, { name, type: 5, g: value.graph });
}

/** A node of the default domain, named after its first output. An absent optional input is ''. */
export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    name: outputs[0] ?? opType,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });
}

/** An input or output. In `shape` a text names a variable axis, −1 leaves it unnamed. */
export function valueInfo(name: string, dtype: Datatype, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((axis) => {
    if (typeof axis === 'string') return { value: { case: 'dimParam' as const, value: axis } };
    return axis === -1 ? {} : { value: { case: 'dimValue' as const, value: BigInt(axis) } };
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType: ELEMENT_TYPES[dtype], shape: { dim } } } },
  });
}

export interface GraphParts {
  readonly name: string;
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly initializers?: readonly TensorProto[];
  /** In topological order, as ONNX demands. */
  readonly nodes: readonly NodeProto[];
}

export function graph({ name, inputs, outputs, initializers = [], nodes }: GraphParts): GraphProto {
  return create(GraphProtoSchema, {
    name,
    input: [...inputs],
    output: [...outputs],
    initializer: [...initializers],
    node: [...nodes],
  });
}

export function model({ opset, graph }: { readonly opset: number; readonly graph: GraphProto }): ModelProto {
  return create(ModelProtoSchema, {
    irVersion: BigInt(irVersionFor(opset)),
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    producerName: 'drover',
    graph,
  });
}

/** The IR version of the ONNX release that brought the operator set (onnx/docs/Versioning.md). At least 4, from which on weights need not be inputs. */
function irVersionFor(opset: number): number {
  if (opset <= 9) return 4;
  if (opset <= 11) return opset === 10 ? 5 : 6;
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  return 11;
}

/**
 * A copy of the model with other values in the named FP32 initializers; names, shapes and everything else stay.
 *
 * @throws OnnxError ONNX_TENSOR_INVALID when a name is no FP32 initializer or the number of values differs
 */
export function replaceInitializers(original: ModelProto, values: ReadonlyMap<string, Float32Array>): ModelProto {
  const copy = clone(ModelProtoSchema, original);
  const { initializer } = graphOf(copy);
  for (const [name, replacement] of values) {
    const index = initializer.findIndex((tensor) => tensor.name === name);
    const tensor = initializer[index];
    if (tensor?.dataType !== ELEMENT_TYPES.FP32) {
      throw new OnnxError('ONNX_TENSOR_INVALID', `The model has no float32 initializer "${name}".`, {
        remedy: 'Name a weight that `drover model show` lists.',
        where: name,
      });
    }
    initializer[index] = floatTensor(name, tensorDims(tensor), replacement);
  }
  return copy;
}
