import { trainModel } from '../training.js';
import { percent, type Facts, type Scene } from '../scene.js';

/** Rows of a training set; the real data give what they have. */
export const TRAINING_ROWS = 6_000;
const MIN_ACCURACY = 0.9;

/** 1. A first classifier, trained with the engine that devices use and exported as ONNX. */
export async function train(scene: Scene, facts: Facts): Promise<string> {
  const examples = scene.world.trainingSet({ rows: TRAINING_ROWS, devices: scene.trainingStreams });
  scene.say(`${examples.count} labelled rows of ${examples.width} sensor values, ${scene.world.labels.length} gases`);
  const trained = await trainModel({
    world: scene.world,
    examples,
    seed: scene.seed,
    signal: scene.signal,
    onProgress: (share, loss) => scene.say(`training ${percent(share)}, loss ${loss.toFixed(3)}`),
  });
  const { accuracy, rows } = trained.heldOut;
  if (accuracy < MIN_ACCURACY)
    throw new Error(`The first model is right on ${percent(accuracy)} of held-out rows only.`);
  facts.firstModel = trained;
  return `${trained.run.steps} steps; ${percent(accuracy)} right on ${rows} held-out rows; ${trained.bytes.length} bytes of ONNX`;
}
