import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeGoldenVectors } from '@drover/shared/manifest';
import { encodeOnnx, floatTensor, graph, model, node, valueInfo } from '@drover/shared/onnx';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDrover } from '../../src/cli/program.js';
import { unattendedTerminal } from '../cli-terminal.js';
import { buildRelease } from '../../src/cli/release-builder/build.js';
import { likelyStates } from '../../src/cli/release-builder/likely-states.js';
import { readNumpy } from '../../src/cli/release-builder/npy.js';
import type { StateGiven } from '../../src/cli/release-builder/states.js';
import { collectState } from '../../src/cli/units.js';

let folder: string;
let modelFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drover-states-'));
  modelFile = join(folder, 'recurrent.onnx');
  writeFileSync(modelFile, recurrent());
});
afterAll(() => rmSync(folder, { recursive: true }));

/** h_out = x + 0.5·h_in, y = 2·h_out. */
const recurrent = (axes: (number | string)[] = [1, 2]) =>
  encodeOnnx(
    model({
      opset: 13,
      graph: graph({
        name: 'recurrent',
        inputs: [valueInfo('x', 'FP32', axes), valueInfo('h_in', 'FP32', axes)],
        outputs: [valueInfo('y', 'FP32', axes), valueInfo('h_out', 'FP32', axes)],
        initializers: [floatTensor('half', [1], Float32Array.of(0.5)), floatTensor('two', [1], Float32Array.of(2))],
        nodes: [
          node('Mul', ['h_in', 'half'], ['decayed']),
          node('Add', ['x', 'decayed'], ['h_out']),
          node('Mul', ['h_out', 'two'], ['y']),
        ],
      }),
    }),
  );
/** As numpy.save writes it. */
const npy = (descr: string, shape: string, bytes: Uint8Array, order = 'False', version = 1): Buffer => {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`.padEnd(117, ' ') + '\n';
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(header.length);
  else length.writeUInt32LE(header.length);
  return Buffer.concat([
    Buffer.from(`\x93NUMPY`, 'latin1'),
    Buffer.from([version, 0]),
    length,
    Buffer.from(header),
    bytes,
  ]);
};
const write = (name: string, bytes: Uint8Array): string => {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return file;
};
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const build = (states: readonly StateGiven[], file = modelFile) =>
  buildRelease({
    modelFile: file,
    model: 'recurrent',
    version: '1.0.0',
    createdAt: new Date(0),
    hardwareClasses: ['*'],
    parity: { absolute: 1e-6, relative: 1e-6 },
    drift: { windowSize: 200, falseAlarmsPerWindow: 0.001, confirmWindows: 2, seed: 1 },
    sequences: { states, maxSequences: 7, idleTimeoutMs: 5_000 },
  });
const numbersOf = (bytes: Uint8Array | undefined) => [...new Float32Array(new Uint8Array(bytes ?? []).buffer)];
const H = { input: 'h_in', output: 'h_out' };

describe('publishing a recurrent model', () => {
  it('when its state is named, it is in no signature and no golden vector, and each vector begins with zeros', async () => {
    const { manifest, files } = await build([H]);
    const [variant] = manifest.variants;
    expect(variant?.signature).toMatchObject({ inputs: [{ name: 'x' }], outputs: [{ name: 'y' }] });
    expect(variant?.sequences).toEqual({
      states: [{ ...H, datatype: 'FP32', shape: [1, 2], initial: { shape: [1, 2] } }],
      maxSequences: 7,
      idleTimeoutMs: 5_000,
    });
    for (const { inputs, outputs } of decodeGoldenVectors(
      files.get(manifest.goldenVectors.digest) ?? new Uint8Array(),
    )) {
      expect([inputs.map(({ name }) => name), outputs.map(({ name }) => name)]).toEqual([['x'], ['y']]);
      expect(numbersOf(outputs[0]?.bytes)).toEqual(numbersOf(inputs[0]?.bytes).map((x) => 2 * x));
    }
  });

  it('when a file says what sequences begin with, it is an asset, and the golden vectors begin with it', async () => {
    const initialFile = write('h0.npy', npy('<f4', '(1, 2)', floats(4, -4)));
    const { manifest, files } = await build([{ ...H, initialFile }]);
    const [asset] = manifest.assets;
    expect(asset).toMatchObject({ kind: 'state', file: { bytes: 8 } });
    expect(manifest.variants[0]?.sequences?.states[0]?.initial).toEqual({ shape: [1, 2], asset: asset?.file.path });
    expect(asset && numbersOf(files.get(asset.file.digest))).toEqual([4, -4]);
    const [vector] = decodeGoldenVectors(files.get(manifest.goldenVectors.digest) ?? new Uint8Array());
    const [a = 0, b = 0] = numbersOf(vector?.inputs[0]?.bytes);
    expect(numbersOf(vector?.outputs[0]?.bytes)).toEqual([2 * Math.fround(a + 2), 2 * Math.fround(b - 2)]);
  });

  it('when axes of a state are variable, a file has to say how long they are, all but the first', async () => {
    const file = write('variable.onnx', recurrent(['n', 'm']));
    await expect(build([H], file)).rejects.toMatchObject({ code: 'CLI_STATE_UNFIT', remedy: expect.stringContaining('.npy') as unknown }); // prettier-ignore
  });

  it.each<[string, StateGiven]>([
    ['there is no such input', { input: 'g_in', output: 'h_out' }],
    ['there is no such output', { input: 'h_in', output: 'g_out' }],
    ['nothing else would go in', { input: 'x', output: 'h_out' }],
  ])('when %s, it is refused', async (why, state) => {
    const states = why.startsWith('nothing') ? [H, state] : [state];
    await expect(build(states)).rejects.toMatchObject({ code: 'CLI_STATE_UNFIT' });
  });

  it('when it is checked, the likely state is named, with the option that makes it one', async () => {
    const said: string[] = [];
    const terminal = unattendedTerminal((text) => void said.push(text));
    expect(await runDrover(['model', 'check', modelFile], terminal, '0.0.0')).toBe(0);
    expect(said.join('\n')).toContain('--state h_in=h_out');
  });
});

describe('likely states', () => {
  const tensor = (name: string, shape = [1, 4]) => ({ name, dtype: 'FP32' as const, shape });
  const pairs = (inputs: string[], outputs: string[]) =>
    likelyStates(
      inputs.map((name) => tensor(name)),
      outputs.map((name) => tensor(name)),
    ).map(({ input, output }) => `${input}=${output}`);

  it.each([
    [['x', 'h', 'c'], ['y', 'hn', 'cn'], ['h=hn', 'c=cn']],
    [['x', 'h_0', 'c_0'], ['y', 'h_n', 'c_n'], ['h_0=h_n', 'c_0=c_n']],
    [['input', 'state', 'sr'], ['output', 'stateN'], ['state=stateN']],
    [['x', 'state_in'], ['y', 'state_out'], ['state_in=state_out']],
    [['ids', 'past_key_values.0.key', 'past_key_values.0.value', 'past_key_values.1.key'], ['logits', 'present.0.key', 'present.0.value', 'present.1.key'], ['past_key_values.0.key=present.0.key', 'past_key_values.0.value=present.0.value', 'past_key_values.1.key=present.1.key']],
    [['input'], ['output'], []],
    [['image_in'], ['image_out'], []],
    [['features'], ['logits', 'probabilities'], []],
    [['left', 'right'], ['sum', 'product'], []],
  ])('when a model takes %j and gives %j, they are %j', (inputs, outputs, expected) => {
    expect(pairs(inputs, outputs)).toEqual(expected);
  }); // prettier-ignore

  it('when shapes or types do not fit, is none', () => {
    expect(likelyStates([tensor('x'), tensor('h_in')], [tensor('y'), tensor('h_out', [1, 5])])).toEqual([]);
  });
});

describe('arrays that NumPy saved', () => {
  it.each([
    ['<f4', '(1, 2)', floats(1, 2), { datatype: 'FP32', shape: [1, 2] }],
    ['<i8', '(1,)', new Uint8Array(BigInt64Array.of(-3n).buffer), { datatype: 'INT64', shape: [1] }],
    ['|b1', '(3,)', Uint8Array.of(1, 0, 1), { datatype: 'BOOL', shape: [3] }],
    ['<f2', '()', Uint8Array.of(0, 60), { datatype: 'FP16', shape: [] }],
    ['|u1', '(2, 0)', new Uint8Array(), { datatype: 'UINT8', shape: [2, 0] }],
  ])('when they are of type %s and shape %s, are read', (descr, shape, bytes, expected) => {
    for (const version of [1, 2])
      expect(readNumpy(write('a.npy', npy(descr, shape, bytes, 'False', version)))).toEqual({ ...expected, bytes });
  });

  it.each([
    ['not of NumPy', Buffer.from('no array of any kind')],
    ['big-endian', npy('>f4', '(1,)', floats(1))],
    ['of texts', npy('<U4', '(1,)', floats(1, 2, 3, 4))],
    ['column by column', npy('<f4', '(1, 1)', floats(1), 'True')],
    ['cut short', npy('<f4', '(2,)', floats(1))],
  ])('when they are %s, are refused', (_, bytes) => {
    expect(() => readNumpy(write('b.npy', bytes))).toThrow(
      expect.objectContaining({ code: 'CLI_STATE_UNFIT' }) as Error,
    );
  });
});

describe('--state', () => {
  it.each([
    ['h_in=h_out', { input: 'h_in', output: 'h_out' }],
    ['h:0=hn:0', { input: 'h:0', output: 'hn:0' }],
    ['h=hn:h0.npy', { input: 'h', output: 'hn', initialFile: 'h0.npy' }],
    ['h:0=hn:0:/a/h0.npy', { input: 'h:0', output: 'hn:0', initialFile: '/a/h0.npy' }],
  ])('when it is %s, names its two ends and the file', (text, expected) => {
    expect(collectState(text)).toEqual([expected]);
  });

  it('when it names one end only, is refused', () => {
    expect(() => collectState('h_in')).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }) as Error);
  });
});
