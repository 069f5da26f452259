import type { DriftBody } from '@drover/shared/protocol';
import { until } from '../../../fleet/index.js';
import { fieldAccuracy, reportsOf } from '../rollout.js';
import { PACE, percent, type Facts, type Scene } from '../scene.js';

/** Quiet time that must pass without an alarm before the world changes: three windows and more. */
const QUIET_WINDOWS = 3;
const ALARM_TIMEOUT_MS = 60_000;
/** Share of the devices that must have raised an alarm. */
const ALARM_SHARE = 0.9;

/** 6. No alarm while the world is as it was; then it changes, and devices notice by themselves, without labels. */
export async function drift(scene: Scene, facts: Facts): Promise<string> {
  const { operator } = scene.controlPlane;
  const raisedBy = async () =>
    (await reportsOf<DriftBody>(operator, 'drift')).filter(
      ({ body }) => body.status === 'raised' && body.release.version === '1.0.0',
    );
  const windowSize = facts.releases.get('1.0.0')?.manifest.drift?.windowSize ?? 0;
  const rowsWanted = QUIET_WINDOWS * windowSize;
  scene.say(
    `waiting until every device has seen ${QUIET_WINDOWS} windows of ${windowSize} rows of the unchanged world`,
  );
  await until(
    () => ([...facts.applications.values()].every(({ counts }) => counts.rows >= rowsWanted) ? true : undefined),
    {
      what: 'quiet windows on every device',
      timeoutMs: 60_000,
      signal: scene.signal,
    },
  );
  const early = await raisedBy();
  if (early.length > 0)
    throw new Error(`${early.length} alarm(s) before the world changed, the first by ${early[0]?.deviceId ?? ''}.`);

  const startedAtMs = Date.now();
  if (scene.sabotage !== 'drift') scene.world.startDrift();
  if (scene.sabotage === 'fine-tune' && facts.agent) facts.mislabelled.add(facts.agent.id);
  scene.say('the world changes now');
  const wanted = Math.ceil(ALARM_SHARE * facts.fleet.length);
  const alarms = await until(
    async () => {
      const raised = await raisedBy();
      return new Set(raised.map(({ deviceId }) => deviceId)).size >= wanted ? raised : undefined;
    },
    {
      what: `drift alarms of ${wanted} of ${facts.fleet.length} devices`,
      timeoutMs: ALARM_TIMEOUT_MS,
      everyMs: 500,
      signal: scene.signal,
    },
  );
  const first = alarms.reduce((earliest, alarm) => Math.min(earliest, alarm.receivedAt), Infinity);
  const sample = alarms[0]?.body;
  // Reports of the last windows only: the change is a ramp.
  const field = await fieldAccuracy(scene, Date.now() - 4 * PACE.telemetryIntervalMs, '1.0.0');
  if (field.accuracy === undefined) throw new Error('No labelled inference was reported after the change.');
  if (field.accuracy > (facts.accuracyBefore ?? 1) - 0.03) {
    throw new Error(
      `The change does no harm: ${percent(field.accuracy)} right, ${percent(facts.accuracyBefore ?? 0)} before.`,
    );
  }
  facts.accuracyDrifted = field.accuracy;
  return (
    `0 alarms before; ${new Set(alarms.map(({ deviceId }) => deviceId)).size} of ${facts.fleet.length} devices raised one, the first after ` +
    `${((first - startedAtMs) / 1000).toFixed(1)} s (statistic ${sample?.statistic.toFixed(2) ?? '?'} over ${sample?.threshold.toFixed(2) ?? '?'}, ` +
    `worst ${sample?.worst[0]?.name ?? '?'}); accuracy ${percent(facts.accuracyBefore ?? 0)} → ${percent(field.accuracy)}`
  );
}
