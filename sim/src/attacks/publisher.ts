import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';
import { buildDenseClassifier } from '@drover/agent/learn';
import { digestHex, Version, type Digest, type ModelName } from '@drover/shared/ids';
import { parametersOf, type Manifest } from '@drover/shared/manifest';
import { assembleRelease, type AssembledRelease } from '@drover/shared/release';
import { openPublisher, type ListedRelease, type Operator, type Publisher } from '../fleet/index.js';

const FEATURES = 4;
const CLASSES = 3;
/** What the application asks: the answer tells which model runs. */
const QUESTION = Float32Array.of(0.3, -1.2, 0.7, 2.1);

export interface TestRelease {
  readonly version: Version;
  readonly digest: Digest;
  readonly manifest: Manifest;
  /** Digest of its model file. */
  readonly file: Digest;
  /** What this model says to the question, rounded. */
  readonly answer: string;
}

export interface Contents {
  /** Another seed is another model. */
  readonly seed: number;
  /** Instead of the model that belongs to the seed, with its golden vectors all the same. */
  readonly model?: Uint8Array;
}

/** Two authors who sign together: their keys are never where the control plane is. */
export interface TestPublisher extends Pick<
  Publisher,
  'pinnedRoot' | 'owners' | 'authors' | 'forget' | 'renew' | 'rotateOnline'
> {
  assemble(version: string, contents: Contents): Promise<{ release: TestRelease; assembled: AssembledRelease }>;
  publish(version: string, contents: Contents): Promise<TestRelease>;
  /** Lists a release of parameters whose manifest was uploaded. */
  list(release: ListedRelease): Promise<void>;
  /** Asks a device, as an application would. */
  infer(endpoint: string): Promise<string>;
}

export async function openTestPublisher(operator: Operator, model: ModelName): Promise<TestPublisher> {
  const publisher = await openPublisher(operator, model, { authors: 2, otherLines: [parametersOf(model)] });
  await publisher.begin();

  const assemble: TestPublisher['assemble'] = async (version, { seed, model: bytes }) => {
    const sound = buildDenseClassifier({ features: FEATURES, hidden: [8], classes: CLASSES, seed });
    const scores = await answerOf(sound);
    const tensor = (name: string, values: Float32Array) =>
      ({ name, datatype: 'FP32', shape: [1, values.length], bytes: new Uint8Array(values.slice().buffer) }) as const;
    const assembled = assembleRelease({
      model,
      version: Version(version),
      createdAt: new Date(),
      task: { type: 'classification', scores: 'probabilities', labels: ['a', 'b', 'c'] },
      variants: [
        {
          name: 'default',
          hardwareClasses: ['*'],
          precision: 'fp32',
          model: bytes ?? sound,
          signature: {
            inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, FEATURES] }],
            outputs: [{ name: 'probabilities', datatype: 'FP32', shape: [-1, CLASSES] }],
          },
        },
      ],
      goldenVectors: [{ inputs: [tensor('features', QUESTION)], outputs: [tensor('probabilities', scores)] }],
      contract: { perHardwareClass: [], parity: { absolute: 1e-4, relative: 1e-3 } },
      revertFloor: Version('1.0.0'),
      lineage: { data: [] },
    });
    const { manifest, digest } = assembled;
    const file = manifest.variants[0]?.model.digest as Digest;
    return { release: { version: manifest.version, digest, manifest, file, answer: rounded(scores) }, assembled };
  };
  return {
    ...publisher,
    assemble,
    list: (release) => publisher.publish(release),
    async publish(version, contents) {
      const { release, assembled } = await assemble(version, contents);
      for (const [digest, bytes] of assembled.files) await operator.putBlob(digestHex(digest), bytes);
      await operator.putBlob(digestHex(assembled.digest), assembled.manifestBytes);
      await publisher.publish(assembled);
      return release;
    },
    async infer(endpoint) {
      const response = await fetch(`${endpoint}/v2/models/${model}/infer`, {
        method: 'POST',
        body: JSON.stringify({
          inputs: [{ name: 'features', datatype: 'FP32', shape: [1, FEATURES], data: [...QUESTION] }],
        }),
      });
      if (!response.ok) throw new Error(`The device answered ${response.status}: ${await response.text()}`);
      const { outputs } = (await response.json()) as { outputs: { data: number[] }[] };
      return rounded(outputs[0]?.data ?? []);
    },
  };
}

async function answerOf(model: Uint8Array): Promise<Float32Array> {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  try {
    const { probabilities } = await session.run({ features: new Tensor('float32', QUESTION.slice(), [1, FEATURES]) });
    return Float32Array.from(probabilities?.data as Float32Array);
  } finally {
    await session.release();
  }
}

const rounded = (scores: Iterable<number>): string => Array.from(scores, (score) => score.toFixed(4)).join(' ');
