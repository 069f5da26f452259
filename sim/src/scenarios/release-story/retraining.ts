import { need, percent, type Facts, type Scene, type TrainedModel } from './scene.js';
import { TRAINING_ROWS } from './steps/train.js';
import { trainModel } from './training.js';

/** Goes on from the first model's weights, on labelled rows of the changed world, with rows of the old one against forgetting. */
export function retrain(scene: Scene, facts: Facts, seed: number): Promise<TrainedModel> {
  const first = need(facts.firstModel, 'the first model');
  return trainModel({
    world: scene.world,
    examples: scene.world.trainingSet({ rows: TRAINING_ROWS, devices: scene.trainingStreams, drifted: true }),
    seed,
    signal: scene.signal,
    startFrom: first.bytes,
    replay: first.portions.train,
    reference: facts.driftedReference,
    onProgress: (share, loss) => scene.say(`retraining ${percent(share)}, loss ${loss.toFixed(3)}`),
  });
}
