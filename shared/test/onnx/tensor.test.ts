import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeOnnx,
  encodeOnnx,
  floatTensor,
  graph,
  graphOf,
  int64Tensor,
  model,
  replaceInitializers,
  tensorValues,
  valueInfo,
  type TensorValues,
} from '../../src/onnx/index.js';
import { TensorProtoSchema } from '../../src/onnx/generated/onnx_pb.js';

const coded = (code: string) => expect.objectContaining({ code }) as Error;
const floats = fc.float32Array({ noNaN: true, maxLength: 40 });

describe('tensors', () => {
  it('when floats are stored raw, they come back bit for bit wherever in the file they lie', () => {
    fc.assert(
      fc.property(floats, fc.string({ maxLength: 9 }), (values, name) => {
        const holder = model({
          opset: 17,
          graph: graph({
            name,
            inputs: [],
            outputs: [valueInfo('y', 'FP32', [1])],
            nodes: [],
            initializers: [floatTensor(`w${name}`, [values.length], values)],
          }),
        });
        const [tensor] = graphOf(decodeOnnx(encodeOnnx(holder))).initializer;
        expect(tensor && tensorValues(tensor)).toEqual(values);
      }),
    );
  });

  it('when values are in typed lists, each type is read from its list', () => {
    const cases: [MessageInitShape<typeof TensorProtoSchema>, TensorValues][] = [
      [{ dataType: 1, floatData: [1.5, -2] }, Float32Array.of(1.5, -2)],
      [{ dataType: 11, doubleData: [0.1, 2] }, Float64Array.of(0.1, 2)],
      [{ dataType: 7, int64Data: [-1n, 2n ** 62n] }, BigInt64Array.of(-1n, 2n ** 62n)],
      [{ dataType: 6, int32Data: [-7, 8] }, Int32Array.of(-7, 8)],
      [{ dataType: 5, int32Data: [-7, 8] }, Int16Array.of(-7, 8)],
      [{ dataType: 4, int32Data: [7, 65535] }, Uint16Array.of(7, 65535)],
      [{ dataType: 3, int32Data: [-7, 8] }, Int8Array.of(-7, 8)],
      [{ dataType: 2, int32Data: [7, 255] }, Uint8Array.of(7, 255)],
      [{ dataType: 9, int32Data: [0, 1] }, Uint8Array.of(0, 1)],
      [{ dataType: 10, int32Data: [0x3c00, 0xc000] }, Uint16Array.of(0x3c00, 0xc000)],
      [{ dataType: 12, uint64Data: [4294967295n, 1n] }, Uint32Array.of(4294967295, 1)],
      [{ dataType: 13, uint64Data: [2n ** 64n - 1n, 1n] }, BigUint64Array.of(2n ** 64n - 1n, 1n)],
    ];
    for (const [fields, expected] of cases) {
      expect(tensorValues(create(TensorProtoSchema, { ...fields, name: 't', dims: [2n] }))).toEqual(expected);
    }
  });

  it('when the data do not fit the dimensions, it refuses', () => {
    const short = floatTensor('w', [3], new Float32Array(3));
    short.rawData = short.rawData.slice(0, 8);
    expect(() => tensorValues(short)).toThrow(coded('ONNX_TENSOR_INVALID'));
    short.rawData = short.rawData.slice(0, 7);
    expect(() => tensorValues(short)).toThrow(coded('ONNX_TENSOR_INVALID'));
    expect(() => floatTensor('w', [2], new Float32Array(3))).toThrow(coded('ONNX_TENSOR_INVALID'));
  });

  it('when the tensor holds strings, it says so', () => {
    const labels = create(TensorProtoSchema, {
      name: 'labels',
      dataType: 8,
      dims: [1n],
      stringData: [Buffer.from('a')],
    });
    expect(() => tensorValues(labels)).toThrow(coded('ONNX_UNSUPPORTED_TYPE'));
  });
});

describe('replaceInitializers', () => {
  const original = model({
    opset: 17,
    graph: graph({
      name: 'g',
      inputs: [],
      outputs: [valueInfo('y', 'FP32', [1])],
      nodes: [],
      initializers: [floatTensor('w', [2], Float32Array.of(1, 2)), int64Tensor('shape', [1], [2])],
    }),
  });

  it('when weights are replaced, the original stays as it was and everything else is kept', () => {
    const before = encodeOnnx(original);
    const replaced = replaceInitializers(original, new Map([['w', Float32Array.of(3, 4)]]));
    const [w, shape] = graphOf(replaced).initializer;
    expect(w && tensorValues(w)).toEqual(Float32Array.of(3, 4));
    expect(shape && tensorValues(shape)).toEqual(BigInt64Array.of(2n));
    expect(encodeOnnx(original)).toEqual(before);
  });

  it('when the name, the type or the size does not fit, it refuses', () => {
    for (const [name, values] of [
      ['v', [1, 2]],
      ['shape', [1]],
      ['w', [1, 2, 3]],
    ] as const) {
      const act = () => replaceInitializers(original, new Map([[name, Float32Array.from(values)]]));
      expect(act).toThrow(coded('ONNX_TENSOR_INVALID'));
    }
  });
});
