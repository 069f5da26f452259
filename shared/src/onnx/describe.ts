import type { Datatype } from '../manifest/index.js';
import { toDatatype } from './element-types.js';
import { notAModel, OnnxError } from './errors.js';
import type { GraphProto, ModelProto, TensorShapeProto, ValueInfoProto } from './generated/onnx_pb.js';
import { tensorDims, tensorElements } from './tensor.js';
import { nodesOf } from './walk.js';

export interface TensorDescription {
  readonly name: string;
  /** Open Inference Protocol datatype. */
  readonly dtype: Datatype;
  /** Elements per axis, row-major; −1 is a variable axis. An output whose shape the file does not state is [−1]. */
  readonly shape: readonly number[];
}

export interface InitializerDescription {
  readonly name: string;
  /** TensorProto.DataType: weights may have types that no input can have. */
  readonly elementType: number;
  readonly shape: readonly number[];
  /** Bytes of the raw data, or of the packed lists. */
  readonly bytes: number;
}

export interface ModelDescription {
  readonly irVersion: number;
  /** Version of the default operator set. */
  readonly opset: number;
  /** What a caller must give: initializers that old files repeat among the inputs are left out. */
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
  /** Distinct operator names, sorted; those of other domains as `domain.Name`. */
  readonly operators: readonly string[];
  /** Elements in all initializers. */
  readonly parameters: number;
  readonly initializers: readonly InitializerDescription[];
  /** True where some input's first axis is a number: the model takes batches of exactly that size. */
  readonly fixedBatch: boolean;
}

/** @throws OnnxError ONNX_UNSUPPORTED_TYPE, ONNX_TENSOR_INVALID, ONNX_NOT_A_MODEL */
export function describeModel(model: ModelProto): ModelDescription {
  const graph = graphOf(model);
  const initialized = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !initialized.has(name)).map((input) => describeInput(input));
  const outputs = graph.output.map((output) => describeTensor(output, 'output'));
  if (outputs.length === 0) throw notAModel('its graph has no outputs');
  const operators = new Set<string>();
  for (const { domain, opType } of nodesOf(model)) {
    operators.add(domain === '' || domain === 'ai.onnx' ? opType : `${domain}.${opType}`);
  }
  return {
    irVersion: Number(model.irVersion),
    opset: defaultOpset(model),
    inputs,
    outputs,
    operators: [...operators].sort(),
    parameters: graph.initializer.reduce((sum, tensor) => sum + tensorElements(tensor), 0),
    initializers: graph.initializer.map((tensor) => ({
      name: tensor.name,
      elementType: tensor.dataType,
      shape: tensorDims(tensor),
      bytes:
        tensor.rawData.length +
        4 * (tensor.floatData.length + tensor.int32Data.length) +
        8 * (tensor.int64Data.length + tensor.doubleData.length + tensor.uint64Data.length) +
        tensor.stringData.reduce((sum, text) => sum + text.length, 0),
    })),
    fixedBatch: inputs.some(({ shape }) => shape[0] !== undefined && shape[0] !== -1),
  };
}

/** Version of the default operator set; 0 when the model imports none. */
export function defaultOpset(model: ModelProto): number {
  const imported = model.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  return Number(imported?.version ?? 0n);
}

/** The main graph. @throws OnnxError ONNX_NOT_A_MODEL */
export function graphOf(model: ModelProto): GraphProto {
  if (model.graph === undefined) throw notAModel('it has no graph');
  return model.graph;
}

function describeInput(info: ValueInfoProto): TensorDescription {
  const description = describeTensor(info, 'input');
  if (info.type?.value.case === 'tensorType' && info.type.value.value.shape !== undefined) return description;
  throw new OnnxError('ONNX_UNSUPPORTED_TYPE', `The input "${info.name}" has no shape.`, {
    remedy: 'Export the model with the ranks of its inputs; single axes may be variable.',
    where: info.name,
  });
}

function describeTensor(info: ValueInfoProto, role: 'input' | 'output'): TensorDescription {
  const type = info.type?.value;
  if (type?.case !== 'tensorType') {
    throw new OnnxError(
      'ONNX_UNSUPPORTED_TYPE',
      `The ${role} "${info.name}" is no tensor (${type?.case ?? 'no type'}).`,
      {
        remedy:
          'Export tensors only (scikit-learn: options={"zipmap": False}), or see what `drover model check` can mend.',
        where: info.name,
      },
    );
  }
  const { elemType, shape } = type.value;
  return {
    name: info.name,
    dtype: toDatatype(elemType, `The ${role} "${info.name}"`),
    shape: shape ? toNumbers(shape) : [-1],
  };
}

function toNumbers(shape: TensorShapeProto): number[] {
  return shape.dim.map(({ value }) => (value.case === 'dimValue' && value.value > 0n ? Number(value.value) : -1));
}
