import type { AdaptationBody } from '@drover/shared/protocol';
import { until } from '../../../fleet/index.js';
import { reportsOf } from '../rollout.js';
import { need, percent, type Facts, type Scene } from '../scene.js';

const TIMEOUT_MS = 60_000;

/** 7. The agent process fine-tunes on its own labelled samples; the gate lets the result serve because it is better and does not forget. */
export async function fineTune(scene: Scene, facts: Facts): Promise<string> {
  const agent = need(facts.agent, 'the agent process');
  const { operator } = scene.controlPlane;
  scene.say(`${agent.id} collects labelled samples since its alarm, then trains in a process of its own`);
  const report = await until(
    async () => (await reportsOf<AdaptationBody>(operator, 'adaptation', 0, agent.id)).at(-1),
    { what: `a fine-tune on ${agent.id}`, timeoutMs: TIMEOUT_MS, everyMs: 500, signal: scene.signal },
  );
  const { body } = report;
  if (body.verdict !== 'PASS' || !body.active) throw new Error(`The gate answered ${body.verdict}: ${body.reason}`);
  if (body.base.digest !== facts.releases.get('1.0.0')?.digest)
    throw new Error('The lineage of the adaptation does not name release 1.0.0.');
  await until(
    async () => {
      const device = await operator.get<{ models: { running?: { adaptation?: string } }[] }>(
        `/api/v1/devices/${agent.id}`,
      );
      return device.models.some(({ running }) => running?.adaptation === body.adaptation) ? true : undefined;
    },
    { what: 'the signed report that the adaptation runs', timeoutMs: 15_000, signal: scene.signal },
  );
  return (
    `${body.adaptation.slice(0, 19)}… on top of 1.0.0: held-out ${percent(body.holdout.before)} → ${percent(body.holdout.after)} ` +
    `(${body.holdout.count} rows), anchor ${percent(body.anchor.before)} → ${percent(body.anchor.after)} (${body.anchor.count} rows), ` +
    `${body.trainedOn.labelled} labelled + ${body.trainedOn.replayed} replayed rows, ${body.steps} steps`
  );
}
