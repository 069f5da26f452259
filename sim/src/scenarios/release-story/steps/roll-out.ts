import { hireAttacker } from '../attacker.js';
import { createRollout, followRollout, reportsOf } from '../rollout.js';
import { runningVersions, startApplications } from '../fleet-state.js';
import type { Facts, Scene } from '../scene.js';

const STAGES_OF_AN_UPDATE = [
  'fetching',
  'verifying',
  'staging',
  'self-testing',
  'activating',
  'probation',
  'committing',
];

/** 4. Canary, half, all; every device fetches, verifies, stages, self-tests, activates, is on probation, commits. Applications begin to ask. */
export async function rollOut(scene: Scene, facts: Facts): Promise<string> {
  // Overhears the orders from the first one on; what for, step 9 tells.
  const attacker = await hireAttacker(scene.controlPlane);
  facts.attacker = attacker;
  facts.closers.push(() => attacker.close());
  startApplications(scene, facts);
  const { id } = await createRollout(scene, { version: '1.0.0' });
  const rollout = await followRollout(scene, id, 120_000);
  if (rollout.state !== 'completed') throw new Error(`The rollout ended as "${rollout.state}": ${rollout.reason}`);
  const running = await runningVersions(scene);
  const wrong = [...running].filter(([, version]) => version !== '1.0.0').map(([device]) => device);
  if (running.size !== facts.fleet.length || wrong.length > 0) {
    throw new Error(
      `By their signed reports these devices do not run 1.0.0: ${wrong.join(', ') || 'some are missing'}.`,
    );
  }
  const transitions = await reportsOf<{ to: string }>(scene.controlPlane.operator, 'transition');
  for (const state of STAGES_OF_AN_UPDATE) {
    const devices = new Set(transitions.filter(({ body }) => body.to === state).map(({ deviceId }) => deviceId));
    if (devices.size !== facts.fleet.length)
      throw new Error(`Only ${devices.size} of ${facts.fleet.length} devices went through "${state}".`);
  }
  return `${running.size} of ${facts.fleet.length} devices run 1.0.0 by their signed reports; ${rollout.stageRuns.length} stages, each with verdict PASS`;
}
