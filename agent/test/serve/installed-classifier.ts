import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Digest, digestOf, ModelName, Version } from '@drover/shared/ids';
import { encodeGoldenVectors, type GoldenVector, type Manifest, type TensorSignature } from '@drover/shared/manifest';
import { encodeOnnx, floatTensor, graph, model as onnxModel, node, valueInfo } from '@drover/shared/onnx';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { buildDenseClassifier } from '../../src/learn/network.js';
import type { InstalledModel } from '../../src/update/ports.js';

export const FEATURES = 4;
export const CLASSES = 3;

export interface ClassifierOptions {
  readonly directory: string;
  readonly seed?: number;
  readonly version?: string;
  readonly hidden?: readonly number[];
  readonly manifest?: Partial<Manifest>;
}

/** A small real classifier as an installed release: ONNX file, golden vectors made by the runtime, manifest. */
export async function installClassifier(options: ClassifierOptions): Promise<InstalledModel> {
  const { seed = 1, hidden = [8] } = options;
  const bytes = buildDenseClassifier({ features: FEATURES, hidden, classes: CLASSES, seed });
  const session = await InferenceSession.create(bytes);
  const values = Float32Array.from({ length: 2 * FEATURES }, (_, index) => Math.sin(seed + index));
  const outputs = await session.run({ features: new Tensor('float32', values, [2, FEATURES]) });
  await session.release();
  const tensor = (name: string, data: Float32Array, width: number) =>
    ({ name, datatype: 'FP32', shape: [2, width], bytes: new Uint8Array(data.slice().buffer) }) as const;
  const vector: GoldenVector = {
    inputs: [tensor('features', values, FEATURES)],
    outputs: ['logits', 'probabilities'].map((name) => tensor(name, outputs[name]?.data as Float32Array, CLASSES)),
  };
  return install(bytes, [vector], options, {
    inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
    outputs: [
      { name: 'logits', datatype: 'FP32', shape: [-1, CLASSES] },
      { name: 'probabilities', datatype: 'FP32', shape: [-1, CLASSES] },
    ],
  });
}

/** Writes any bytes as the model of an installed release. */
export function install(
  bytes: Uint8Array,
  vectors: readonly GoldenVector[],
  { directory, version = '1.0.0', manifest: overrides = {} }: ClassifierOptions,
  signature: { inputs: TensorSignature[]; outputs: TensorSignature[] },
): InstalledModel {
  mkdirSync(directory, { recursive: true });
  const golden = encodeGoldenVectors(vectors);
  writeFileSync(join(directory, 'model.onnx'), bytes);
  writeFileSync(join(directory, 'golden.json'), golden);
  const reference = (path: string, content: Uint8Array) => ({ path, digest: digestOf(content), bytes: content.length });
  const manifest: Manifest = {
    format: 'drover.release/1',
    model: ModelName('classifier'),
    version: Version(version),
    createdAt: '2026-01-01T00:00:00Z',
    task: signature.outputs.some(({ name }) => name === 'probabilities')
      ? { type: 'classification', scores: 'probabilities', labels: ['a', 'b', 'c'] }
      : { type: 'tensors' },
    variants: [
      { name: 'any', hardwareClasses: ['*'], precision: 'fp32', model: reference('model.onnx', bytes), signature },
    ],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 1e-5, relative: 1e-5 } },
    goldenVectors: reference('golden.json', golden),
    lineage: { data: [] },
    ...overrides,
  };
  const variant = manifest.variants[0];
  if (!variant) throw new Error('a manifest without variants');
  return {
    model: manifest.model,
    release: { version: manifest.version, digest: digestOf(Buffer.from(JSON.stringify(manifest))) },
    manifest,
    variant,
    modelFile: join(directory, 'model.onnx'),
    loaded: digestOf(bytes),
    directory,
  };
}

/** A digest to tell things apart by. */
export const someDigest = (hexDigit: string): Digest => Digest(`sha256:${hexDigit.repeat(64)}`);

/** A sound graph whose one weight lies in another file: what an exporter writes for large models, and what an attacker would. */
export function modelWithExternalData(location: string): Uint8Array {
  const weights = floatTensor('w', [FEATURES, 2], new Float32Array(FEATURES * 2));
  weights.rawData = new Uint8Array();
  weights.dataLocation = 1;
  const entries = { location, offset: '0', length: String(FEATURES * 2 * 4) };
  for (const [key, value] of Object.entries(entries)) {
    weights.externalData.push({ $typeName: 'onnx.StringStringEntryProto', key, value });
  }
  return encodeOnnx(
    onnxModel({
      opset: 17,
      graph: graph({
        name: 'g',
        inputs: [valueInfo('features', 'FP32', ['n', FEATURES])],
        outputs: [valueInfo('logits', 'FP32', ['n', 2])],
        initializers: [weights],
        nodes: [node('MatMul', ['features', 'w'], ['logits'])],
      }),
    }),
  );
}
