import { join } from 'node:path';
import { digestOf, ModelName, Version } from '@drover/shared/ids';
import { encodeGoldenVectors, type Manifest, type Variant } from '@drover/shared/manifest';
import type { ProviderReport } from '@drover/shared/protocol';
import { buildDenseClassifier } from '../learn/network.js';
import { runProbe } from '../serve/process/probe.js';
import type { InstalledModel } from '../update/ports.js';

const FEATURES = 4;
const CLASSES = 2;
const PROBE_TIMEOUT_MS = 60_000;

/** Which of the providers really runs a model here. Proven in a process of its own: a broken driver may crash it. @throws ServeError */
export async function provenProvider(
  folder: string,
  providers: readonly string[],
  write: (file: string, bytes: Uint8Array) => Promise<void>,
): Promise<ProviderReport> {
  const model = buildDenseClassifier({ features: FEATURES, hidden: [], classes: CLASSES, seed: 1 });
  const golden = encodeGoldenVectors([
    {
      inputs: [{ name: 'features', datatype: 'FP32', shape: [1, FEATURES], bytes: new Uint8Array(4 * FEATURES) }],
      outputs: [],
    },
  ]);
  await write('model.onnx', model);
  await write('golden.json', golden);
  const fileOf = (path: string, bytes: Uint8Array) => ({ path, digest: digestOf(bytes), bytes: bytes.length });
  const variant: Variant = {
    name: 'doctor',
    hardwareClasses: ['*'],
    precision: 'fp32',
    model: fileOf('model.onnx', model),
    signature: {
      inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
      outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, CLASSES] }],
    },
  };
  const manifest: Manifest = {
    format: 'drover.release/1',
    model: ModelName('doctor'),
    version: Version('1.0.0'),
    createdAt: '2025-01-01T00:00:00Z',
    task: { type: 'tensors' },
    variants: [variant],
    assets: [],
    contract: { perHardwareClass: [], parity: { absolute: 0, relative: 0 } },
    goldenVectors: fileOf('golden.json', golden),
    lineage: { data: [] },
  };
  const installed: InstalledModel = {
    model: manifest.model,
    release: { version: manifest.version, digest: digestOf(Buffer.from(JSON.stringify(manifest))) },
    manifest,
    variant,
    modelFile: join(folder, 'model.onnx'),
    loaded: variant.model.digest,
    directory: folder,
  };
  const settings = { providers, hardwareClass: 'doctor' };
  const options = { settings, nodeFlags: [], timeoutMs: PROBE_TIMEOUT_MS };
  return (await runProbe(installed, options, new AbortController().signal)).provider;
}
