import { InferenceSession, Tensor } from '@drover/agent/onnxruntime';
import { digestExamples } from '@drover/agent/learn';
import { digestHex, Version } from '@drover/shared/ids';
import type { GoldenVector } from '@drover/shared/manifest';
import { assembleRelease, type AssembledRelease } from '@drover/shared/release';
import type { PublishedRelease, Scene, TrainedModel } from './scene.js';
import { RECIPE } from './training.js';

const GOLDEN_VECTORS = 8;
/** Rows that adaptations replay against forgetting. */
const REPLAY_ROWS = 1_000;

export const INPUT = 'features';
export const SCORES = 'probabilities';

export interface PublishOrder {
  readonly version: string;
  readonly trained: TrainedModel;
  readonly parent?: PublishedRelease | undefined;
  readonly description: string;
  /** Spoils the golden vectors: what a publisher on another runtime might ship. */
  readonly spoilGolden?: boolean;
}

/** What a publisher's pipeline does: golden vectors, reference profile with thresholds, lineage, signature, upload. */
export async function publish(scene: Scene, order: PublishOrder): Promise<PublishedRelease> {
  const assembled = await assemble(scene, order);
  const { operator } = scene.controlPlane;
  for (const [digest, bytes] of assembled.files) await operator.putBlob(digestHex(digest), bytes);
  await operator.putBlob(digestHex(assembled.digest), assembled.manifestBytes);
  await scene.publisher.publish(assembled);
  return { version: assembled.manifest.version, digest: assembled.digest, manifest: assembled.manifest };
}

async function assemble(scene: Scene, order: PublishOrder): Promise<AssembledRelease> {
  const { trained, parent } = order;
  const { portions } = trained;
  const width = portions.train.width;
  const labels = [...scene.world.labels];
  return assembleRelease({
    model: scene.model,
    version: Version(order.version),
    createdAt: new Date(),
    description: order.description,
    task: { type: 'classification', scores: SCORES, labels },
    variants: [
      {
        name: 'default',
        hardwareClasses: ['*'],
        precision: 'fp32',
        model: trained.bytes,
        signature: {
          inputs: [{ name: INPUT, datatype: 'FP32', shape: [-1, width] }],
          outputs: [
            { name: 'logits', datatype: 'FP32', shape: [-1, labels.length] },
            { name: SCORES, datatype: 'FP32', shape: [-1, labels.length] },
          ],
        },
      },
    ],
    goldenVectors: await goldenVectors(trained, order.spoilGolden === true),
    contract: {
      perHardwareClass: [{ hardwareClass: '*', maxLatencyMs: 250, maxMemoryMiB: 256 }],
      parity: { absolute: 1e-4, relative: 1e-3 },
      heldOut: trained.heldOut,
    },
    reference: trained.reference,
    anchor: portions.anchor,
    replay: firstRows(portions.train, REPLAY_ROWS),
    recipe: RECIPE,
    revertFloor: Version('1.0.0'),
    lineage: {
      ...(parent ? { parent: parent.digest } : {}),
      data: (['train', 'holdout', 'anchor'] as const).map((name) => ({
        name,
        digest: digestExamples(portions[name]),
        rows: portions[name].count,
      })),
      run: trained.run,
    },
  });
}

function firstRows({ features, labels, count, width }: TrainedModel['portions']['train'], wanted: number) {
  const rows = Math.min(count, wanted);
  return { features: features.slice(0, rows * width), labels: labels.slice(0, rows), count: rows, width };
}

/** Inputs from the held-out rows, and what this runtime answers to them. */
async function goldenVectors({ bytes, portions }: TrainedModel, spoil: boolean): Promise<GoldenVector[]> {
  const { features, width } = portions.holdout;
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  try {
    const vectors: GoldenVector[] = [];
    for (let row = 0; row < GOLDEN_VECTORS; row++) {
      const input = features.slice(row * width, (row + 1) * width);
      const results = await session.run({ [INPUT]: new Tensor('float32', input, [1, width]) });
      const outputs = session.outputNames.map((name) => {
        const values = Float32Array.from(results[name]?.data as Float32Array);
        if (spoil) values.reverse();
        return { name, datatype: 'FP32' as const, shape: [1, values.length], bytes: new Uint8Array(values.buffer) };
      });
      vectors.push({
        inputs: [{ name: INPUT, datatype: 'FP32', shape: [1, width], bytes: new Uint8Array(input.buffer) }],
        outputs,
      });
    }
    return vectors;
  } finally {
    await session.release();
  }
}
