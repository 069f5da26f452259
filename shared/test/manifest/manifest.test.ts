import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../src/ids/index.js';
import {
  allFiles,
  contractFor,
  decodeGoldenVectors,
  encodeGoldenVectors,
  filesFor,
  ManifestError,
  parseManifest,
  partsOf,
  variantFor,
  type GoldenVector,
} from '../../src/manifest/index.js';

const file = (path: string, content = path) => ({
  path,
  digest: digestOf(Buffer.from(content)),
  bytes: content.length,
});
const signature = {
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
};
const manifest = {
  format: 'drover.release/1',
  model: 'gas',
  version: '1.0.0',
  createdAt: '2026-01-01T00:00:00.000Z',
  task: { type: 'classification', scores: 'y', labels: ['a', 'b'] },
  variants: [
    { name: 'any', hardwareClasses: ['*'], precision: 'fp32', model: file('model.onnx'), signature },
    { name: 'orin', hardwareClasses: ['jetson-orin'], precision: 'fp16', model: file('model-fp16.onnx'), signature },
  ],
  assets: [{ kind: 'labels', file: file('labels.json') }],
  contract: { perHardwareClass: [], parity: { absolute: 1e-4, relative: 1e-4 } },
  goldenVectors: file('golden.json'),
  lineage: { data: [] },
};
const parse = (document: unknown) => parseManifest(Buffer.from(JSON.stringify(document)));
const failure = (act: () => unknown): ManifestError => {
  try {
    act();
  } catch (error) {
    if (error instanceof ManifestError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('when a manifest is parsed', () => {
  it('accepts a minimal one, and tells what each kind of hardware has to fetch', () => {
    const parsed = parse(manifest);
    expect(variantFor(parsed, 'jetson-orin').name).toBe('orin');
    expect(variantFor(parsed, 'generic').name).toBe('any');
    expect(filesFor(parsed, variantFor(parsed, 'generic')).map(({ path }) => path)).toEqual([
      'model.onnx',
      'golden.json',
      'labels.json',
    ]);
    expect(
      allFiles(parsed)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(['golden.json', 'labels.json', 'model-fp16.onnx', 'model.onnx']);
  });

  it('refuses an unknown format and unknown keys, by name', () => {
    expect(failure(() => parse({ ...manifest, format: 'drover.release/2' })).message).toContain('/format');
    expect(failure(() => parse({ ...manifest, colour: 1 })).message).toContain('/colour');
  });

  it('refuses a task that does not fit the outputs of a variant', () => {
    const task = { type: 'anomaly', anomaly: { score: 'z', threshold: 1, anomalous: 'above' } };
    expect(failure(() => parse({ ...manifest, task }))).toMatchObject({
      code: 'MANIFEST_INVALID',
      where: '/task',
      message: 'The variant "any": The task does not fit the model: there is no output "z"; there are "y".',
    });
    expect(
      failure(() => parse({ ...manifest, task: { ...manifest.task, labels: ['a', 'b', 'c'] } })).message,
    ).toContain('labels');
  });

  it('refuses paths that leave the folder of the release', () => {
    for (const path of ['../x', '/etc/passwd', 'a/../../x', 'a/./b', '.hidden', 'a\\b', '']) {
      const golden = { ...manifest.goldenVectors, path };
      expect(failure(() => parse({ ...manifest, goldenVectors: golden })).code).toBe('MANIFEST_INVALID');
    }
  });

  it('says which hardware no variant fits', () => {
    const parsed = parse({ ...manifest, variants: manifest.variants.slice(1) });
    expect(failure(() => variantFor(parsed, 'generic'))).toMatchObject({ code: 'MANIFEST_NO_VARIANT' });
  });

  it('tells the contract of a hardware class: its own, else that of all', () => {
    const any = { hardwareClass: '*', maxLatencyMs: 9, maxMemoryMiB: 9 };
    const own = { hardwareClass: 'small', maxLatencyMs: 1, maxMemoryMiB: 1 };
    const promising = (...perHardwareClass: (typeof any)[]) =>
      parse({ ...manifest, contract: { ...manifest.contract, perHardwareClass } });
    expect(contractFor(promising(any, own), 'small')).toEqual(own);
    expect(contractFor(promising(any, own), 'large')).toEqual(any);
    expect(contractFor(promising(own), 'large')).toBeUndefined();
  });

  it('takes a contract of the inputs that fits each variant, and says which part of a manifest that is', () => {
    const withInputs = (column: number) => {
      const inputs = { action: 'reject', inputs: [{ name: 'x', rules: [{ rule: 'range', column, min: 0 }] }] };
      return { ...manifest, contract: { ...manifest.contract, inputs } };
    };
    expect(partsOf(parse(withInputs(3)))).toEqual(['contract.inputs']);
    expect(partsOf(parse(manifest))).toEqual([]);
    const refused = failure(() => parse(withInputs(4)));
    expect(refused.code).toBe('MANIFEST_INVALID');
    expect(refused.message).toContain('variant "any": /inputs/0/rules/0 is about the column 4');
  });

  it('reads no manifest without bounds', () => {
    expect(failure(() => parse({ ...manifest, description: 'x'.repeat(2 ** 20) })).message).toContain('the limit is');
  });

  it('throws coded errors only', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(failure(() => parseManifest(Buffer.from(json))).code).toBe('MANIFEST_INVALID');
      }),
    );
  });
});

describe('when golden vectors travel', () => {
  it('keeps every bit of every float', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: false }), { minLength: 1, maxLength: 20 }), (values) => {
        const bytes = new Uint8Array(Float32Array.from(values).buffer);
        const vector: GoldenVector = {
          inputs: [{ name: 'x', datatype: 'FP32', shape: [values.length], bytes }],
          outputs: [],
        };
        expect(decodeGoldenVectors(encodeGoldenVectors([vector]))).toEqual([vector]);
      }),
    );
  });

  it('says what is wrong with a file that holds none', () => {
    expect(failure(() => decodeGoldenVectors(Buffer.from('{"format":"drover.golden/1","vectors":[]}')))).toMatchObject({
      code: 'GOLDEN_VECTORS_INVALID',
    });
  });
});
