import { setTimeout as delay } from 'node:timers/promises';
import { publish } from '../publishing.js';
import { createRollout, fieldAccuracy, followRollout } from '../rollout.js';
import { runningVersions } from '../fleet-state.js';
import { retrain } from '../retraining.js';
import { need, percent, type Facts, type Scene } from '../scene.js';

const WATCH_MS = 4_000;

/** 11. Retrained with the same engine on labelled data of the changed world; passes its gates and reaches every device. */
export async function goodRelease(scene: Scene, facts: Facts): Promise<string> {
  const parent = need(facts.releases.get('1.0.0'), 'release 1.0.0');
  const trained = await retrain(scene, facts, scene.seed + 4);
  const release = await publish(scene, {
    version: '1.2.0',
    trained,
    parent,
    description: 'Retrained on the changed world',
  });
  facts.releases.set('1.2.0', release);
  const { lineage } = release.manifest;
  if (lineage.parent !== parent.digest || lineage.data.length === 0 || lineage.run?.steps !== trained.run.steps) {
    throw new Error('The lineage of 1.2.0 is incomplete.');
  }
  const { id } = await createRollout(scene, { version: '1.2.0' });
  const rollout = await followRollout(scene, id, 150_000);
  if (rollout.state !== 'completed') throw new Error(`The rollout ended as "${rollout.state}": ${rollout.reason}`);
  const running = await runningVersions(scene);
  const behind = [...running].filter(([, version]) => version !== '1.2.0').map(([device]) => device);
  if (behind.length > 0) throw new Error(`These devices do not run 1.2.0: ${behind.join(', ')}.`);
  const sinceMs = Date.now();
  await delay(WATCH_MS, undefined, { signal: scene.signal });
  const { accuracy, labelled } = await fieldAccuracy(scene, sinceMs, '1.2.0');
  const [before, drifted] = [facts.accuracyBefore, facts.accuracyDrifted];
  if (accuracy === undefined) throw new Error('No labelled inference of 1.2.0 was reported.');
  if (drifted !== undefined && accuracy <= drifted)
    throw new Error(`1.2.0 is right on ${percent(accuracy)}, 1.0.0 was on ${percent(drifted)}.`);
  const show = (share: number | undefined) => (share === undefined ? 'not measured' : percent(share));
  return (
    `${running.size} of ${running.size} devices run 1.2.0 (parent ${parent.digest.slice(0, 19)}…, run ${trained.run.id}); accuracy in the field: ` +
    `before the drift ${show(before)}, after it ${show(drifted)}, now ${percent(accuracy)} (${labelled} rows)`
  );
}
