import { digestOf, DeviceId, ModelName, newDeploymentId, Version, type Digest } from '@drover/shared/ids';
import { encodeGoldenVectors, RELEASE_FORMAT, type Manifest } from '@drover/shared/manifest';
import { signDeployment, type Deployment } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf, type KeyPair, type KeySet } from '@drover/shared/trust';
import { buildDenseClassifier } from '@drover/agent/learn';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { createRepository } from './repository.js';

export const TRIAL_DEVICE = DeviceId('trial-device');
export const TRIAL_MODEL = ModelName('classifier');
export const HARDWARE_CLASS = 'cpu-small';
const FEATURES = 4;
const CLASSES = 3;
/** Wide enough that a download comes in several chunks and a torn file has several sectors. */
const HIDDEN = [96, 64];
/** Model files that releases take turns with. */
const POOL = 4;

export interface ReleaseRef {
  readonly version: Version;
  readonly digest: Digest;
}

/** What one model file answers to the probe input, by which a device's word is checked. */
export interface ModelFile {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly golden: Uint8Array;
  readonly answer: readonly number[];
}

export interface PublishedRelease {
  readonly release: ReleaseRef;
  readonly manifestBytes: Uint8Array;
  readonly files: ReadonlyMap<Digest, Uint8Array>;
  readonly model: ModelFile;
  /** Files by their path within the release. */
  readonly paths: ReadonlyMap<string, Digest>;
}

/** `unfit`: its golden vectors are those of another model. `novel`: its model is one that no device has. */
export type ReleaseKind = 'fit' | 'unfit' | 'novel';

export interface Publisher {
  /** root.json, as text. */
  readonly pinnedRoot: string;
  readonly director: KeySet;
  readonly deviceKey: KeyPair;
  /** Input of the probe inference. */
  readonly probe: readonly number[];
  readonly models: readonly ModelFile[];
  /** A fine-tuned file, which no release names. */
  readonly adapted: ModelFile;
  /** A file of the release repository, as it stands now. */
  metadata(file: string): Uint8Array | undefined;
  /** Release number n, listed in the repository as version 1.n.m: m is new each time, because the devices of a campaign share the repository. */
  publish(number: number, kind?: ReleaseKind): PublishedRelease;
  /** A signed order with a number above all before it. */
  order(release: ReleaseRef, change?: Partial<Deployment>): { readonly deployment: Deployment; readonly bytes: Buffer };
}

/** Publisher and director of a trial: real models, real signatures. */
export async function createPublisher(): Promise<Publisher> {
  const repository = createRepository(TRIAL_MODEL);
  const directorKey = createKeyPair('director');
  const keySet = (key: KeyPair): KeySet => ({ threshold: 1, keys: [publicKeyOf(key)] });
  const probe = Array.from({ length: FEATURES }, (_, index) => Math.cos(index));
  const models: ModelFile[] = [];
  for (let index = 0; index < POOL; index += 1) models.push(await modelFile(100 + index, probe));
  const adapted = await modelFile(200, probe);
  const novel = await modelFile(201, probe);
  const labels = Buffer.from('calm\nleak\nfire\n');
  const directorSigner = bulkSigner(directorKey);
  let counter = 0;
  let publications = 0;

  return {
    pinnedRoot: repository.pinnedRoot,
    metadata: (file) => repository.files.get(file),
    director: keySet(directorKey),
    deviceKey: createKeyPair('device'),
    probe,
    models: [...models, novel],
    adapted,
    publish(number, kind = 'fit') {
      const at = (offset: number): ModelFile => {
        const found = models[(number + offset) % POOL];
        if (!found) throw new Error('the pool of models is empty');
        return found;
      };
      const model = kind === 'novel' ? novel : at(0);
      const golden = (kind === 'unfit' ? at(1) : model).golden;
      publications += 1;
      const manifest = manifestOf(`1.${number}.${publications}`, model.bytes, golden, labels);
      const manifestBytes = Buffer.from(JSON.stringify(manifest));
      const release = { version: manifest.version, digest: digestOf(manifestBytes) };
      repository.list(release, manifestBytes.length);
      const files = new Map([model.bytes, golden, labels].map((content) => [digestOf(content), content]));
      const paths = new Map([
        ['models/plain.onnx', model.digest],
        ['golden.json', digestOf(golden)],
        ['labels.txt', digestOf(labels)],
      ]);
      return { release, manifestBytes, files, model, paths };
    },
    order(release, change = {}) {
      counter += 1;
      const issuedAt = Date.now();
      const deployment: Deployment = {
        protocol: 1,
        kind: 'deployment',
        deploymentId: newDeploymentId(),
        deviceId: TRIAL_DEVICE,
        model: TRIAL_MODEL,
        release,
        hardwareClass: HARDWARE_CLASS,
        epoch: 1,
        counter,
        nonce: counter.toString(16).padStart(32, '0'),
        issuedAt,
        expiresAt: issuedAt + 86_400_000,
        probation: { minMs: 20, minRequests: 4, maxMs: 30_000, maxFailureShare: 0.1, maxCrashes: 2 },
        ...change,
      };
      return { deployment, bytes: signDeployment(deployment, directorSigner) };
    },
  };
}

async function modelFile(seed: number, probe: readonly number[]): Promise<ModelFile> {
  const bytes = buildDenseClassifier({ features: FEATURES, hidden: HIDDEN, classes: CLASSES, seed });
  const session = await InferenceSession.create(bytes);
  const run = async (values: Float32Array, rows: number): Promise<Record<string, Float32Array>> => {
    const outputs = await session.run({ features: new Tensor('float32', values, [rows, FEATURES]) });
    return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data as Float32Array]));
  };
  const rows = 2;
  const values = Float32Array.from({ length: rows * FEATURES }, (_, index) => Math.sin(seed + index));
  const expected = await run(values, rows);
  const answer = await run(Float32Array.from(probe), 1);
  await session.release();
  const tensor = (name: string, data: Float32Array, width: number) =>
    ({ name, datatype: 'FP32', shape: [rows, width], bytes: new Uint8Array(data.slice().buffer) }) as const;
  const golden = encodeGoldenVectors([
    {
      inputs: [tensor('features', values, FEATURES)],
      outputs: Object.entries(expected).map(([name, data]) => tensor(name, data, CLASSES)),
    },
  ]);
  return { digest: digestOf(bytes), bytes, golden, answer: [...(answer['probabilities'] ?? [])] };
}

function manifestOf(version: string, model: Uint8Array, golden: Uint8Array, labels: Uint8Array): Manifest {
  const reference = (path: string, content: Uint8Array) => ({ path, digest: digestOf(content), bytes: content.length });
  const output = (name: string) => ({ name, datatype: 'FP32' as const, shape: [-1, CLASSES] });
  return {
    format: RELEASE_FORMAT,
    model: TRIAL_MODEL,
    version: Version(version),
    createdAt: '2026-01-01T00:00:00Z',
    task: { type: 'classification', scores: 'probabilities', labels: ['calm', 'leak', 'fire'] },
    variants: [
      {
        name: 'plain',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: reference('models/plain.onnx', model),
        signature: {
          inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
          outputs: [output('logits'), output('probabilities')],
        },
      },
    ],
    assets: [{ kind: 'labels', file: reference('labels.txt', labels) }],
    contract: { perHardwareClass: [], parity: { absolute: 1e-5, relative: 1e-5 } },
    goldenVectors: reference('golden.json', golden),
    lineage: { data: [] },
  };
}
