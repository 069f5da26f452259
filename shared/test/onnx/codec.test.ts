import { readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  OnnxError,
  checkOnnx,
  decodeOnnx,
  describeModel,
  encodeOnnx,
  floatTensor,
  graph,
  model,
  node,
  valueInfo,
} from '../../src/onnx/index.js';

const dataDir = process.env.DROVER_DATA_DIR ?? join(import.meta.dirname, '../../../../shared/data');
const realFiles = [
  { file: 'mnist/mnist.onnx', opset: 8, input: [1, 1, 28, 28] },
  { file: 'face-detection/version-RFB-320.onnx', opset: 9, input: [1, 3, 240, 320] },
  { file: 'face-detection/version-slim-320.onnx', opset: 9, input: [1, 3, 240, 320] },
  { file: 'onnx-light/light_squeezenet.onnx', opset: 9, input: [1, 3, 224, 224] },
];

const doubling = () =>
  model({
    opset: 17,
    graph: graph({
      name: 'doubling',
      inputs: [valueInfo('x', 'FP32', ['N', 2])],
      outputs: [valueInfo('y', 'FP32', ['N', 2])],
      initializers: [floatTensor('two', [], Float32Array.of(2))],
      nodes: [node('Mul', ['x', 'two'], ['y'])],
    }),
  });

/** Whatever the bytes are, reading them either works or gives a coded error. */
function readAnything(bytes: Uint8Array): void {
  try {
    const decoded = decodeOnnx(bytes);
    checkOnnx(decoded);
    describeModel(decoded);
  } catch (error) {
    if (!(error instanceof OnnxError)) throw error;
  }
}

const codeOf = (act: () => unknown): string | undefined => {
  try {
    act();
  } catch (error) {
    if (error instanceof OnnxError) return error.code;
    throw error;
  }
  return undefined;
};

/** One field of the protobuf wire format with a number that onnx.proto does not declare. */
const unknownField = (number: number, payload: Uint8Array) => {
  const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
  return Uint8Array.from([...varint((number << 3) | 2), ...varint(payload.length), ...payload]);
};

describe('the ONNX wire format', () => {
  it('when a model is encoded and decoded, it is the same, and its bytes are the same', () => {
    const bytes = encodeOnnx(doubling());
    expect(decodeOnnx(bytes)).toEqual(doubling());
    expect(encodeOnnx(decodeOnnx(bytes))).toEqual(bytes);
  });

  it('when a model holds fields that we do not know, they survive a round trip', () => {
    const plain = encodeOnnx(doubling());
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 500_000 }), fc.uint8Array({ maxLength: 300 }), (number, payload) => {
        const field = unknownField(number, payload);
        const written = Buffer.from(encodeOnnx(decodeOnnx(Buffer.concat([plain, field]))));
        expect(written.includes(Buffer.from(field))).toBe(true);
        expect(written.length).toBe(plain.length + field.length);
      }),
    );
  });

  it('when the bytes are garbage, nothing but an OnnxError is thrown', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2000 }), readAnything), { numRuns: 500 });
    expect(codeOf(() => decodeOnnx(new Uint8Array()))).toBe('ONNX_NOT_A_MODEL');
    expect(codeOf(() => decodeOnnx(Buffer.from('<!doctype html><title>404</title>')))).toBe('ONNX_NOT_A_MODEL');
  });

  it('when single bytes of a model are changed, nothing but an OnnxError is thrown', () => {
    const bytes = encodeOnnx(doubling());
    const change = fc.record({ at: fc.nat(bytes.length - 1), value: fc.integer({ min: 0, max: 255 }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 5 }), (changes) => {
        const damaged = bytes.slice();
        for (const { at, value } of changes) damaged[at] = value;
        readAnything(damaged);
      }),
      { numRuns: 1000 },
    );
  });

  it('when a model is cut short anywhere, it is refused as no model', () => {
    const bytes = encodeOnnx(doubling());
    for (let length = 0; length < bytes.length; length++) {
      expect(codeOf(() => decodeOnnx(bytes.subarray(0, length)))).toBe('ONNX_NOT_A_MODEL');
    }
  });

  it('when graphs are nested without end, it refuses them', () => {
    let nested = graph({ name: 'g', inputs: [], outputs: [], nodes: [] });
    for (let depth = 0; depth < 100; depth++) {
      nested = graph({
        name: 'g',
        inputs: [],
        outputs: [valueInfo('y', 'FP32', [1])],
        nodes: [node('If', ['c'], ['y'], { then_branch: { graph: nested } })],
      });
    }
    expect(codeOf(() => checkOnnx(model({ opset: 17, graph: nested })))).toBe('ONNX_NOT_A_MODEL');
  });

  it('when a model exceeds the limit, it is refused before it is parsed', () => {
    expect(codeOf(() => decodeOnnx(new Uint8Array(11), { maxBytes: 10 }))).toBe('ONNX_TOO_LARGE');
  });
});

describe.skipIf(!existsSync(dataDir))(`real models in ${dataDir} (set DROVER_DATA_DIR; skipped where absent)`, () => {
  it.each(realFiles)(
    'when $file is read, it is described, checked, and survives a round trip',
    ({ file, opset, input }) => {
      const bytes = readFileSync(join(dataDir, file));
      const decoded = decodeOnnx(bytes);
      checkOnnx(decoded);
      const description = describeModel(decoded);
      expect(description.opset).toBe(opset);
      expect(description.inputs.map(({ dtype, shape }) => ({ dtype, shape }))).toEqual([
        { dtype: 'FP32', shape: input },
      ]);
      expect(description.fixedBatch).toBe(true);
      const written = encodeOnnx(decoded);
      expect(Buffer.from(encodeOnnx(decodeOnnx(written))).equals(written)).toBe(true);
    },
  );
});
