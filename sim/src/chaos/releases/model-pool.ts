import { buildDenseClassifier } from '@drover/agent/learn';
import { memorySource, tensorSpans } from '@drover/shared/delivery';
import { digestOf, type Digest } from '@drover/shared/ids';
import { encodeGoldenVectors } from '@drover/shared/manifest';
import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';

export const FEATURES = 4;
export const CLASSES = 3;
/** Wide enough that a download comes in several chunks and a torn file has several sectors. */
const HIDDEN = [96, 64];
/** Large enough for an index of several chunks, so that devices fetch what is missing, and deltas. */
const WIDE = [96, 192, 64];
/** Model files that releases take turns with. */
const POOL = 4;

/** What one model file answers to the probe input, by which a device's word is checked. */
export interface ModelFile {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly golden: Uint8Array;
  readonly answer: readonly number[];
}

/** Made once: a session for each takes longer than all the rest of a trial's scenery. */
export interface ModelPool {
  /** Input of the probe inference. */
  readonly probe: readonly number[];
  readonly plain: readonly ModelFile[];
  /** Of several chunks, most of which they have in common. */
  readonly indexed: readonly ModelFile[];
  /** One that no device has. */
  readonly novel: ModelFile;
  /** A fine-tuned file, which no release names. */
  readonly adapted: ModelFile;
}

export async function createModelPool(): Promise<ModelPool> {
  const probe = Array.from({ length: FEATURES }, (_, index) => Math.cos(index));
  const small = (seed: number): Promise<ModelFile> => modelFile(classifier(HIDDEN, seed), seed, probe);
  const plain: ModelFile[] = [];
  for (let index = 0; index < POOL; index += 1) plain.push(await small(100 + index));
  const wide = classifier(WIDE, 300);
  const indexed = [await modelFile(wide, 300, probe), await modelFile(trainedOn(wide), 300, probe)];
  return { probe, plain, indexed, adapted: await small(200), novel: await small(201) };
}

const classifier = (hidden: number[], seed: number): Uint8Array =>
  buildDenseClassifier({ features: FEATURES, hidden, classes: CLASSES, seed });

/** The same model after some training of one layer: its other chunks stay, and this one is near to what it was. */
function trainedOn(model: Uint8Array): Uint8Array {
  const bytes = Buffer.from(model);
  const widest = [...tensorSpans(memorySource(bytes))].sort((left, right) => right.bytes - left.bytes)[0];
  if (!widest) throw new Error('the model has no weights');
  for (let at = widest.offset; at + 4 <= widest.offset + widest.bytes; at += 4)
    bytes.writeFloatLE(bytes.readFloatLE(at) * 1.01, at);
  return bytes;
}

async function modelFile(bytes: Uint8Array, seed: number, probe: readonly number[]): Promise<ModelFile> {
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
