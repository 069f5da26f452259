import { swapLabels } from '../../../world/index.js';
import { publish } from '../publishing.js';
import { createRollout, followRollout, reportsOf, verdictReason } from '../rollout.js';
import { runningVersions } from '../fleet-state.js';
import { trainModel } from '../training.js';
import { need, percent, type Facts, type Scene } from '../scene.js';
import { TRAINING_ROWS } from './train.js';

/** 8. An export bug swapped two labels. The release is plausible and passes its self-test; the canary shows what it does. */
export async function badRelease(scene: Scene, facts: Facts): Promise<string> {
  const parent = need(facts.releases.get('1.0.0'), 'release 1.0.0');
  const { reference } = need(facts.firstModel, 'the first model');
  const examples = scene.world.trainingSet({ rows: TRAINING_ROWS, devices: scene.trainingStreams });
  const [first, second] = mostCommon(examples.labels);
  const trained = await trainModel({
    world: scene.world,
    examples,
    seed: scene.seed + 1,
    reference,
    signal: scene.signal,
    alter: (rows) => (scene.sabotage === 'bad-release' ? rows : swapLabels(rows, first, second)),
    onProgress: () => undefined,
  });
  scene.say(`1.1.0 looks fine to its publisher: ${percent(trained.heldOut.accuracy)} right on its own held-out rows`);
  const release = await publish(scene, { version: '1.1.0', trained, parent, description: 'Trained on the new export' });
  facts.releases.set('1.1.0', release);
  const { id } = await createRollout(scene, { version: '1.1.0' });
  const rollout = await followRollout(scene, id, 120_000);
  if (rollout.state !== 'reverted') throw new Error(`The rollout ended as "${rollout.state}": ${rollout.reason}`);
  if (rollout.stage.index !== 0) throw new Error(`The bad release got as far as stage "${rollout.stage.name}".`);

  const transitions = await reportsOf<{ to: string; release: { version: string } }>(
    scene.controlPlane.operator,
    'transition',
  );
  const reached = new Set(
    transitions.filter(({ body }) => body.release.version === '1.1.0').map(({ deviceId }) => deviceId),
  );
  const canary = new Set(rollout.members.filter(({ state }) => state === 'reverted').map(({ device }) => device));
  const outside = [...reached].filter((device) => !canary.has(device));
  if (canary.size === 0 || outside.length > 0)
    throw new Error(`Release 1.1.0 reached devices outside the canary: ${outside.join(', ')}.`);
  const running = await runningVersions(scene);
  const still = [...running].filter(([, version]) => version !== '1.0.0').map(([device]) => device);
  if (still.length > 0) throw new Error(`These devices do not run 1.0.0 again: ${still.join(', ')}.`);
  return `halted in the canary stage: ${verdictReason(rollout)} ${canary.size} devices went back by signed order; the other ${facts.fleet.length - canary.size} never ran it`;
}

function mostCommon(labels: Int32Array): [number, number] {
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const [first = 0, second = 1] = [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
  return [first, second];
}
