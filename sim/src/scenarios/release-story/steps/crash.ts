import { publish } from '../publishing.js';
import { until } from '../../../fleet/index.js';
import { createRollout, followRollout, reportsOf } from '../rollout.js';
import { retrain } from '../retraining.js';
import { need, type Facts, type Scene } from '../scene.js';

/** Where a cut hurts most: the candidate is being tried or serves already, and is not committed. */
const DANGEROUS = new Set(['self-testing', 'activating', 'probation']);

/** 10. The agent process is killed in the middle of an update, and converges when it is started again. */
export async function crash(scene: Scene, facts: Facts): Promise<string> {
  const agent = need(facts.agent, 'the agent process');
  const { operator } = scene.controlPlane;
  const trained = await retrain(scene, facts, scene.seed + 2);
  facts.driftedReference = trained.reference;
  const release = await publish(scene, {
    version: '1.1.2',
    trained,
    parent: facts.releases.get('1.0.0'),
    description: 'A first repair, for one device',
  });
  facts.releases.set('1.1.2', release);
  const { id } = await createRollout(scene, { version: '1.1.2', devices: [agent.id] });
  const killedIn = await until(
    async () => {
      const transitions = await reportsOf<{ to: string; release: { version: string } }>(
        operator,
        'transition',
        0,
        agent.id,
      );
      const last = transitions.filter(({ body }) => body.release.version === '1.1.2').at(-1)?.body.to;
      return last !== undefined && DANGEROUS.has(last) ? last : undefined;
    },
    { what: 'the update to become dangerous', timeoutMs: 20_000, everyMs: 20, signal: scene.signal },
  );
  const pid = agent.pid();
  await agent.kill();
  scene.say(`SIGKILL to process ${pid} in the state "${killedIn}"; starting it again`);
  await agent.start();
  const rollout = await followRollout(scene, id, 60_000);
  const device = await operator.get<{ models: { running?: { release: { version: string } } }[] }>(
    `/api/v1/devices/${agent.id}`,
  );
  const version = device.models[0]?.running?.release.version;
  if (rollout.state !== 'completed' || version !== '1.1.2') {
    throw new Error(
      `The rollout ended as "${rollout.state}" (${rollout.reason}), and the device runs ${version ?? 'nothing'}.`,
    );
  }
  return `killed in "${killedIn}" (process ${pid}); started again, it went on and runs 1.1.2 by its signed report`;
}
