import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  checkOnnx,
  describeModel,
  floatTensor,
  graph,
  int64Tensor,
  model,
  node,
  valueInfo,
  type GraphParts,
  type ModelProto,
} from '../../src/onnx/index.js';
import { TypeProtoSchema } from '../../src/onnx/generated/onnx_pb.js';

const build = (parts: Partial<GraphParts> = {}, opset = 17): ModelProto =>
  model({
    opset,
    graph: graph({
      name: 'g',
      inputs: [valueInfo('x', 'FP32', ['N', 4])],
      outputs: [valueInfo('y', 'FP32', ['N', 2])],
      initializers: [floatTensor('w', [4, 2], new Float32Array(8))],
      nodes: [node('MatMul', ['x', 'w'], ['y'])],
      ...parts,
    }),
  });
const coded = (code: string) => expect.objectContaining({ code }) as Error;

describe('describeModel', () => {
  it('when initializers are listed among the inputs, as old files do, it leaves them out', () => {
    const old = build({ inputs: [valueInfo('x', 'FP32', [1, 4]), valueInfo('w', 'FP32', [4, 2])] });
    expect(describeModel(old)).toEqual({
      irVersion: 8,
      opset: 17,
      inputs: [{ name: 'x', dtype: 'FP32', shape: [1, 4] }],
      outputs: [{ name: 'y', dtype: 'FP32', shape: [-1, 2] }],
      operators: ['MatMul'],
      parameters: 8,
      initializers: [{ name: 'w', elementType: 1, shape: [4, 2], bytes: 32 }],
      fixedBatch: true,
    });
  });

  it('when the first axis of every input varies, the batch is not fixed', () => {
    expect(describeModel(build()).fixedBatch).toBe(false);
  });
});

describe('checkOnnx', () => {
  it('when a model is plain, it passes', () => {
    expect(() => checkOnnx(build())).not.toThrow();
    expect(() => checkOnnx(build({}, 7))).not.toThrow();
  });

  it('when the operator set is older than 7 or missing, it refuses', () => {
    expect(() => checkOnnx(build({}, 6))).toThrow(coded('ONNX_UNSUPPORTED_OPSET'));
    const other = build();
    for (const imported of other.opsetImport) imported.domain = 'ai.onnx.ml';
    expect(() => checkOnnx(other)).toThrow(coded('ONNX_UNSUPPORTED_OPSET'));
  });

  it('when an operator is custom, it refuses and names the node, also inside a nested graph', () => {
    const custom = node('Warp', ['x'], ['y']);
    custom.domain = 'com.example';
    expect(() => checkOnnx(build({ nodes: [custom] }))).toThrow(coded('ONNX_UNSUPPORTED_OPERATOR'));
    const inner = graph({ name: 'then', inputs: [], outputs: [], nodes: [custom] });
    const outer = node('If', ['c'], ['y'], { then_branch: { graph: inner } });
    expect(() => checkOnnx(build({ nodes: [outer] }))).toThrow(coded('ONNX_UNSUPPORTED_OPERATOR'));
    custom.domain = 'com.microsoft';
    expect(() => checkOnnx(build({ nodes: [custom] }))).not.toThrow();
  });

  it('when a tensor keeps its data in another file, it refuses, constants included', () => {
    const external = floatTensor('w', [4, 2], new Float32Array(8));
    external.dataLocation = 1;
    expect(() => checkOnnx(build({ initializers: [external] }))).toThrow(coded('ONNX_EXTERNAL_DATA'));
    const constant = node('Constant', [], ['y'], { value: { tensor: external } });
    expect(() => checkOnnx(build({ initializers: [], nodes: [constant] }))).toThrow(coded('ONNX_EXTERNAL_DATA'));
  });

  it('when an output is a sequence or map, it refuses', () => {
    const output = valueInfo('y', 'FP32', [1]);
    output.type = create(TypeProtoSchema, { value: { case: 'sequenceType', value: {} } });
    expect(() => checkOnnx(build({ outputs: [output] }))).toThrow(coded('ONNX_UNSUPPORTED_TYPE'));
    output.type = create(TypeProtoSchema, { value: { case: 'mapType', value: {} } });
    expect(() => checkOnnx(build({ outputs: [output] }))).toThrow(coded('ONNX_UNSUPPORTED_TYPE'));
  });

  it('when an input is bfloat16 or has no shape, it refuses', () => {
    const bfloat16 = create(TypeProtoSchema, {
      value: { case: 'tensorType', value: { elemType: 16, shape: { dim: [] } } },
    });
    const shapeless = create(TypeProtoSchema, { value: { case: 'tensorType', value: { elemType: 1 } } });
    for (const type of [bfloat16, shapeless]) {
      const input = valueInfo('x', 'FP32', [1]);
      input.type = type;
      expect(() => checkOnnx(build({ inputs: [input] }))).toThrow(coded('ONNX_UNSUPPORTED_TYPE'));
    }
  });

  it('when a dimension is negative or absurd, it refuses', () => {
    const negative = int64Tensor('w', [0], []);
    negative.dims = [-1n];
    const absurd = int64Tensor('w', [0], []);
    absurd.dims = [2n ** 40n, 2n ** 40n];
    for (const tensor of [negative, absurd]) {
      expect(() => checkOnnx(build({ initializers: [tensor] }))).toThrow(coded('ONNX_TENSOR_INVALID'));
    }
  });
});
