import { describe, expect, it } from 'vitest';
import { decodeChunkIndex } from '../../src/delivery/index.js';
import { digestOf, ModelName, Version } from '../../src/ids/index.js';
import { allFiles, decodeGoldenVectors, decodeLabelledSamples, parseManifest } from '../../src/manifest/index.js';
import { assembleRelease, type ReleaseDraft } from '../../src/release/index.js';
import { seededRandom } from '../../src/statistics/index.js';

const samples = (labels: number[]) => ({
  features: Float32Array.from(labels, (label) => label + 0.1),
  labels: Int32Array.from(labels),
  count: labels.length,
  width: 1,
});
const input = { name: 'x', datatype: 'FP32', shape: [1, 1], bytes: new Uint8Array(4) } as const;
const draft: ReleaseDraft = {
  model: ModelName('gas'),
  version: Version('1.0.0'),
  createdAt: new Date(0),
  task: { type: 'classification', scores: 'y', labels: ['a', 'b'] },
  variants: [
    {
      name: 'default',
      hardwareClasses: ['*'],
      precision: 'fp32',
      model: Buffer.from('model'),
      signature: {
        inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }],
        outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
      },
    },
  ],
  goldenVectors: [{ inputs: [input], outputs: [] }],
  contract: { perHardwareClass: [], parity: { absolute: 0, relative: 0 } },
  anchor: samples([0, 1]),
  replay: samples([1, 1, 0]),
  lineage: { data: [] },
};

describe('when a release is assembled', () => {
  const release = assembleRelease(draft);

  it('is named by the digest of the bytes of its manifest', () => {
    expect(digestOf(release.manifestBytes)).toBe(release.digest);
    expect(parseManifest(release.manifestBytes)).toEqual(release.manifest);
  });

  it('carries every file that the manifest names, under its digest and with its size', () => {
    const { variants, assets, goldenVectors } = release.manifest;
    const named = [...variants.map(({ model }) => model), ...assets.map(({ file }) => file), goldenVectors];
    expect(new Set(named.map(({ digest }) => digest))).toEqual(new Set(release.files.keys()));
    for (const { digest, bytes } of named) {
      const file = release.files.get(digest);
      expect(file && { digest: digestOf(file), bytes: file.length }).toEqual({ digest, bytes });
    }
  });

  it('gives an index to a file that chunks make smaller, and none to one that they do not', () => {
    const text = Buffer.from(JSON.stringify(Array.from({ length: 20_000 }, (_, index) => ({ index }))));
    const seeded = seededRandom(1);
    const noise = Buffer.from(Uint32Array.from({ length: 50_000 }, () => seeded.nextInt(2 ** 32)).buffer);
    const [variant] = draft.variants;
    if (!variant) throw new Error('the draft has no variant');
    const variants = [
      { ...variant, name: 'text', model: text },
      { ...variant, name: 'noise', hardwareClasses: ['other'], model: noise },
    ];
    const { manifest, files } = assembleRelease({ ...draft, variants });
    const [indexed, plain] = manifest.variants.map(({ model }) => model);
    expect(plain?.index).toBeUndefined();
    const encoded = files.get(indexed?.index?.digest ?? digestOf(text));
    expect(encoded?.length).toBe(indexed?.index?.bytes);
    expect(decodeChunkIndex(encoded ?? text)).toMatchObject({ file: digestOf(text), bytes: text.length });
    expect(new Set(allFiles(manifest).map(({ digest }) => digest))).toEqual(new Set(files.keys()));
  });

  it('keeps anchor, replay and golden vectors as they were', () => {
    const fileOf = (digest: string) => {
      const found = [...release.files].find(([name]) => name === digest);
      if (!found) throw new Error(`no file ${digest}`);
      return found[1];
    };
    for (const kind of ['anchor', 'replay'] as const) {
      const asset = release.manifest.assets.find((each) => each.kind === kind);
      expect(decodeLabelledSamples(fileOf(asset?.file.digest ?? ''))).toEqual(draft[kind]);
    }
    expect(decodeGoldenVectors(fileOf(release.manifest.goldenVectors.digest))).toEqual(draft.goldenVectors);
  });

  it('is named by what it holds', () => {
    expect(assembleRelease(draft).digest).toBe(release.digest);
    expect(assembleRelease({ ...draft, version: Version('1.0.1') }).digest).not.toBe(release.digest);
  });

  it('refuses labelled samples whose bytes and labels do not fit', () => {
    const broken = {
      format: 'drover.samples/1',
      width: 2,
      labels: [0, 1],
      features: Buffer.alloc(12).toString('base64'),
    };
    expect(() => decodeLabelledSamples(Buffer.from(JSON.stringify(broken)))).toThrow(
      /12 bytes do not hold 2 rows of 2/,
    );
  });
});
