import { create } from '@bufbuild/protobuf';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AttributeProtoSchema } from '../../src/onnx/generated/onnx_pb.js';
import {
  encodeOnnx,
  floatTensor,
  graph,
  model,
  node,
  scanOnnx,
  scanOnnxFile,
  valueInfo,
} from '../../src/onnx/index.js';

const DATA = process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname;
const coded = (code: string) => expect.objectContaining({ code }) as Error;

/** Protobuf by hand: what our own encoder does not write. */
const varint = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(Math.floor(value / 128))];
const bytesField = (field: number, contents: readonly number[] | Uint8Array): number[] => [
  ...varint(field * 8 + 2),
  ...varint(contents.length),
  ...contents,
];
const numberField = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];
const textField = (field: number, text: string) => bytesField(field, Buffer.from(text));

const entry = (key: string, value: string) => bytesField(13, [...textField(1, key), ...textField(2, value)]);
const externalTensor = [...textField(8, 'w'), ...entry('location', '../../etc/passwd'), ...numberField(14, 1)];
const HEAD = [...numberField(1, 8), ...bytesField(8, numberField(2, 17))];
const modelOf = (...fields: number[][]) => Uint8Array.from([...HEAD, ...fields.flat()]);
const graphOf = (...fields: number[][]) => modelOf(bytesField(7, fields.flat()));
const attribute = (...fields: number[][]) => bytesField(5, [...textField(1, 'a'), ...fields.flat()]);

const sound = encodeOnnx(
  model({
    opset: 17,
    graph: graph({
      name: 'g',
      inputs: [valueInfo('x', 'FP32', ['n', 4])],
      outputs: [valueInfo('y', 'FP32', ['n', 2])],
      initializers: [floatTensor('w', [4, 2], new Float32Array(8))],
      nodes: [node('MatMul', ['x', 'w'], ['y'])],
    }),
  }),
);

describe('when a model is one file', () => {
  it('is content', () => {
    scanOnnx(sound);
  });

  it.each(['mnist/mnist.onnx'])('is content with the real %s', (name) => {
    const file = join(DATA, name);
    if (existsSync(file)) scanOnnx(readFileSync(file));
  });

  it('reads a large file in small pieces, and steps over its tensors', async () => {
    const weights = floatTensor('w', [1_000_000], new Float32Array(1_000_000));
    const bytes = encodeOnnx(
      model({
        opset: 17,
        graph: graph({ name: 'g', inputs: [], outputs: [], initializers: [weights, weights], nodes: [] }),
      }),
    );
    let read = 0;
    const reader = {
      size: bytes.length,
      read: ({ offset, bytes: length }: { offset: number; bytes: number }) => {
        expect(length).toBeLessThanOrEqual(64 * 1024);
        read += length;
        return Promise.resolve(bytes.subarray(offset, offset + length));
      },
    };
    await scanOnnxFile(reader, new AbortController().signal);
    expect(read).toBeLessThan(256 * 1024);
    expect(bytes.length).toBeGreaterThan(8_000_000);
    await expect(scanOnnxFile(reader, AbortSignal.abort(new Error('no more')))).rejects.toThrow('no more');
  });
});

describe('when a tensor keeps its data in another file', () => {
  const sparse = bytesField(1, externalTensor);
  const inner = [...bytesField(5, externalTensor)];
  const nodeWith = (...fields: number[][]) => bytesField(1, [...textField(4, 'If'), ...attribute(...fields)]);
  it.each<[string, Uint8Array]>([
    ['initializer', graphOf(bytesField(5, externalTensor))],
    ['sparse initializer, its values', graphOf(bytesField(15, sparse))],
    ['sparse initializer, its indices', graphOf(bytesField(15, bytesField(2, externalTensor)))],
    ['attribute', graphOf(nodeWith(bytesField(5, externalTensor)))],
    ['list of tensors in an attribute', graphOf(nodeWith(bytesField(10, externalTensor)))],
    ['sparse tensor in an attribute', graphOf(nodeWith(bytesField(22, sparse)))],
    ['list of sparse tensors in an attribute', graphOf(nodeWith(bytesField(23, sparse)))],
    ['subgraph', graphOf(nodeWith(bytesField(6, inner)))],
    ['list of subgraphs', graphOf(nodeWith(bytesField(11, inner)))],
    ['subgraph of a subgraph', graphOf(nodeWith(bytesField(6, nodeWith(bytesField(6, inner)))))],
    [
      'node of a function',
      modelOf(bytesField(7, []), bytesField(25, bytesField(7, attribute(bytesField(5, externalTensor))))),
    ],
    [
      'default of a function',
      modelOf(bytesField(7, []), bytesField(25, bytesField(11, bytesField(5, externalTensor)))),
    ],
    ['training information', modelOf(bytesField(7, []), bytesField(20, bytesField(2, inner)))],
    ['second graph, which a reader merges with the first', modelOf(bytesField(7, []), bytesField(7, inner))],
  ])('refuses it as %s', (_place, bytes) => {
    expect(() => scanOnnx(bytes)).toThrow(coded('ONNX_EXTERNAL_DATA'));
  });

  it.each([
    ['../weights.bin', true],
    ['/etc/passwd', true],
    ['a/../../b', true],
    ['C:\\weights.bin', true],
    ['weights.bin', false],
  ])('says whether %s leaves the folder of the model', (location, leaves) => {
    const tensor = [...textField(8, 'w'), ...entry('location', location), ...numberField(14, 1)];
    const report = () => scanOnnx(graphOf(bytesField(5, tensor)));
    expect(report).toThrow(JSON.stringify(location));
    if (leaves) expect(report).toThrow('outside of the folder');
    else expect(report).not.toThrow('outside of the folder');
  });

  it.each<[string, number[]]>([
    ['the place alone', numberField(14, 1)],
    ['entries alone', entry('location', 'x')],
    ['a place that a later field takes back', [...numberField(14, 1), ...numberField(14, 0)]],
    ['a place with more than 32 bits, which readers cut off', [...varint(14 * 8), 0x81, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['a place that is no known one', numberField(14, 7)],
  ])('takes %s for external', (_what, fields) => {
    expect(() => scanOnnx(graphOf(bytesField(5, fields)))).toThrow(coded('ONNX_EXTERNAL_DATA'));
  });
});

describe('when a node carries compiled code', () => {
  it('refuses it', () => {
    const context = [...textField(3, 'engine'), ...textField(4, 'EPContext'), ...textField(7, 'com.microsoft')];
    expect(() => scanOnnx(graphOf(bytesField(1, context)))).toThrow(coded('ONNX_UNSUPPORTED_OPERATOR'));
  });
});

describe('when the bytes are no model', () => {
  const nested = (depth: number): number[] =>
    depth === 0 ? [] : bytesField(1, attribute(bytesField(6, nested(depth - 1))));
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['a text', Buffer.from('this is not a model')],
    ['no graph', modelOf()],
    ['the ORT format', Uint8Array.from([...sound.subarray(0, 4), ...Buffer.from('ORTM'), ...sound.subarray(8)])],
    ['a part that ends after the whole', modelOf([...varint(7 * 8 + 2), 100])],
    ['a field without a number', modelOf([2, 0])],
    ['a group', graphOf([...varint(1 * 8 + 3), ...varint(1 * 8 + 4)])],
    ['a tag that is too large', graphOf([0xff, 0xff, 0xff, 0xff, 0x1f, 0])],
    ['a tag without an end', graphOf([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0])],
    ['graphs in graphs in graphs', graphOf(nested(40))],
  ])('refuses %s', (_what, bytes) => {
    expect(() => scanOnnx(bytes)).toThrow(coded('ONNX_NOT_A_MODEL'));
  });

  it('refuses a model that is cut short anywhere', () => {
    for (let length = 0; length < sound.length; length += 1) {
      const cut = () => scanOnnx(sound.subarray(0, length));
      // A cut between two fields behind the graph leaves a whole model to the wire format; `decodeOnnx` asks for the rest.
      const tail = sound.length - length;
      if (tail > 20) expect(cut, `${length} bytes`).toThrow(coded('ONNX_NOT_A_MODEL'));
    }
  });

  it('refuses more parts, or more listed numbers, than its bounds', () => {
    const bounds = { maxFields: 100, maxWideBytes: 1000, maxNarrowBytes: 2000 };
    const nodes = Array.from({ length: 100 }, () => bytesField(1, []));
    expect(() => scanOnnx(graphOf(...nodes), bounds)).toThrow(coded('ONNX_TOO_LARGE'));
    const oneByOne = Array.from({ length: 100 }, () => numberField(8, 1));
    expect(() => scanOnnx(graphOf(bytesField(1, attribute(...oneByOne))), bounds)).toThrow(coded('ONNX_TOO_LARGE'));
    const dims = bytesField(
      11,
      bytesField(
        2,
        bytesField(
          1,
          bytesField(
            2,
            nodes.flatMap(() => bytesField(1, [])),
          ),
        ),
      ),
    );
    expect(() => scanOnnx(graphOf([...dims]), bounds)).toThrow(coded('ONNX_TOO_LARGE'));
    const listed = (field: number, bytes: number) => graphOf(bytesField(5, bytesField(field, new Uint8Array(bytes))));
    expect(() => scanOnnx(listed(7, 1001), bounds)).toThrow(coded('ONNX_TOO_LARGE'));
    expect(() => scanOnnx(listed(5, 2001), bounds)).toThrow(coded('ONNX_TOO_LARGE'));
    scanOnnx(listed(5, 2000), bounds);
  });
});

describe('when our own encoder wrote it', () => {
  it('finds external data as well', () => {
    const external = floatTensor('w', [4, 2], new Float32Array(8));
    external.dataLocation = 1;
    const constant = node('Constant', [], ['y']);
    constant.attribute.push(create(AttributeProtoSchema, { name: 'value', type: 4, t: external }));
    const bytes = encodeOnnx(
      model({ opset: 17, graph: graph({ name: 'g', inputs: [], outputs: [], nodes: [constant] }) }),
    );
    expect(() => scanOnnx(bytes)).toThrow(coded('ONNX_EXTERNAL_DATA'));
  });
});
