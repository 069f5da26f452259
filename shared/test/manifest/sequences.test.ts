import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/ids/index.js';
import {
  filesFor,
  parseManifest,
  type Manifest,
  type SequenceState,
  type Sequences,
} from '../../src/manifest/index.js';

const file = (path: string, bytes = 1) => ({ path, digest: digestOf(Buffer.from(path)), bytes });
const tensor = (name: string) => ({ name, datatype: 'FP32', shape: [1, 2] });
const state: SequenceState = {
  input: 'h_in',
  output: 'h_out',
  datatype: 'FP32',
  shape: [1, -1],
  initial: { shape: [1, 0] },
};
const asset = { kind: 'state', file: file('h.bin', 8) };

const parse = (sequences: Partial<Sequences>, assets: unknown[] = []): Manifest =>
  parseManifest(
    Buffer.from(
      JSON.stringify({
        format: 'drover.release/1',
        model: 'recurrent',
        version: '1.0.0',
        createdAt: '2026-01-01T00:00:00Z',
        task: { type: 'tensors' },
        variants: [
          {
            name: 'default',
            hardwareClasses: ['*'],
            precision: 'fp32',
            model: file('model.onnx'),
            signature: { inputs: [tensor('x')], outputs: [tensor('y')] },
            sequences: { states: [state], maxSequences: 10, idleTimeoutMs: 60_000, ...sequences },
          },
        ],
        assets,
        contract: { perHardwareClass: [], parity: { absolute: 0, relative: 0 } },
        goldenVectors: file('golden.json'),
        lineage: { data: [] },
      }),
    ),
  );

describe('the states of a recurrent model', () => {
  it('when they hold together, are read, and what they begin with is a file of the release', () => {
    const given = { ...state, initial: { shape: [1, 2], asset: 'h.bin' } };
    const manifest = parse({ states: [given] }, [asset]);
    const [variant] = manifest.variants;
    expect(variant?.sequences?.states).toEqual([given]);
    expect(variant && filesFor(manifest, variant).map(({ path }) => path)).toContain('h.bin');
  });

  it.each<[string, Partial<Sequences>, unknown[]?]>([
    ['one is also an input of the signature', { states: [{ ...state, input: 'x' }] }],
    ['one is also an output of the signature', { states: [{ ...state, output: 'y' }] }],
    ['two share an input', { states: [state, { ...state, output: 'other' }] }],
    ['one holds strings', { states: [{ ...state, datatype: 'BYTES' }] }],
    ['one begins in another shape', { states: [{ ...state, initial: { shape: [2, 0] } }] }],
    ['one begins with fewer axes', { states: [{ ...state, initial: { shape: [1] } }] }],
    ['one begins with a file that is not there', { states: [{ ...state, initial: { shape: [1, 2], asset: 'h.bin' } }] }],
    ['one begins with a file of another size', { states: [{ ...state, initial: { shape: [1, 3], asset: 'h.bin' } }] }, [asset]],
    ['the file is of another kind', { states: [{ ...state, initial: { shape: [1, 2], asset: 'h.bin' } }] }, [{ ...asset, kind: 'other' }]],
    ['a sequence would begin with too much', { states: [{ ...state, initial: { shape: [1, 2 ** 25] } }] }],
    ['there is none', { states: [] }],
    ['no sequence is allowed', { maxSequences: 0 }],
    ['they never time out', { idleTimeoutMs: Infinity }],
  ])('when %s, are refused', (_, sequences, assets) => {
    expect(() => parse(sequences, assets)).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error);
  }); // prettier-ignore
});
