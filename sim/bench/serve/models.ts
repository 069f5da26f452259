import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';
import type { InstalledModel } from '@drover/agent/update';
import { digestOf, ModelName, Version } from '@drover/shared/ids';
import { encodeGoldenVectors, type Manifest } from '@drover/shared/manifest';
import { decodeOnnx, encodeOnnx, servable } from '@drover/shared/onnx';
import { seededRandom } from '@drover/shared/statistics';

export const DATA = process.env['DROVER_DATA_DIR'] ?? new URL('../../../../shared/data', import.meta.url).pathname;

/** Real models of one float input and a batch of one. */
export const MODELS = {
  mnist: { file: 'mnist/mnist.onnx', range: 255 },
  rfb320: { file: 'face-detection/version-RFB-320.onnx', range: 1 },
  slim320: { file: 'face-detection/version-slim-320.onnx', range: 1 },
  squeezenet: { file: 'onnx-light/light_squeezenet.onnx', range: 1 },
  densenet121: { file: 'onnx-light/light_densenet121.onnx', range: 1 },
} as const;
export type BenchModelName = keyof typeof MODELS;

export interface BenchModel {
  /** As it lies among the data. */
  readonly original: string;
  readonly installed: InstalledModel;
  readonly input: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export const isAtHand = (name: BenchModelName): boolean => existsSync(join(DATA, MODELS[name].file));

export function seededInput(elements: number, range: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: elements }, () => range * random.next());
}

export interface InstallOptions {
  readonly folder: string;
  readonly name: BenchModelName;
  readonly seed: number;
  /** Of the release; the model's own name and 1.0.0 unless given. */
  readonly model?: string;
  readonly version?: string;
}

/** A model file as an installed release, as `drover model publish` makes it, with a golden vector made by the runtime. */
export async function installBenchModel(options: InstallOptions): Promise<BenchModel> {
  const { folder, name, seed, model = name, version = '1.0.0' } = options;
  const { file, range } = MODELS[name];
  const bytes = encodeOnnx(servable(decodeOnnx(readFileSync(join(DATA, file)))).model);
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3 });
  const describe = (values: readonly InferenceSession.ValueMetadata[]) =>
    values.map((value) => {
      if (!value.isTensor || value.type !== 'float32') throw new Error(`${value.name} is no float tensor`);
      return { name: value.name, datatype: 'FP32' as const, shape: value.shape.map((axis) => Number(axis)) };
    });
  const signature = { inputs: describe(session.inputMetadata), outputs: describe(session.outputMetadata) };
  const [input] = signature.inputs;
  if (!input) throw new Error(`${file} has no input`);
  const values = seededInput(
    input.shape.reduce((product, axis) => product * axis, 1),
    range,
    seed,
  );
  const results = await session.run({ [input.name]: new Tensor('float32', values, input.shape) });
  await session.release();
  const golden = (tensor: { name: string; shape: number[] }, data: Float32Array) =>
    ({ ...tensor, datatype: 'FP32', bytes: new Uint8Array(data.slice().buffer) }) as const;
  const vectors = encodeGoldenVectors([
    {
      inputs: [golden(input, values)],
      outputs: signature.outputs.map(({ name }) => {
        const { dims, data } = results[name] as Tensor;
        return golden({ name, shape: [...dims] }, data as Float32Array);
      }),
    },
  ]);
  const directory = join(folder, name);
  mkdirSync(directory, { recursive: true });
  const modelFile = join(directory, 'model.onnx');
  writeFileSync(modelFile, bytes);
  writeFileSync(join(directory, 'golden.json'), vectors);
  const reference = (path: string, content: Uint8Array) => ({ path, digest: digestOf(content), bytes: content.length });
  const variant = {
    name: 'any',
    hardwareClasses: ['*'],
    precision: 'fp32' as const,
    model: reference('model.onnx', bytes),
    signature,
  };
  const manifest: Manifest = {
    format: 'drover.release/1',
    model: ModelName(model),
    version: Version(version),
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'tensors' },
    variants: [variant],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 1e-4, relative: 1e-4 } },
    goldenVectors: reference('golden.json', vectors),
    lineage: { data: [] },
  };
  const digest = digestOf(Buffer.from(JSON.stringify(manifest)));
  return {
    original: join(DATA, file),
    installed: {
      model: manifest.model,
      release: { version: manifest.version, digest },
      manifest,
      variant,
      modelFile,
      loaded: digestOf(bytes),
      directory,
    },
    input: input.name,
    shape: input.shape,
    values,
  };
}
