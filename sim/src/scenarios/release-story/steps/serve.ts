import { setTimeout as delay } from 'node:timers/promises';
import { totals } from '../fleet-state.js';
import { fieldAccuracy } from '../rollout.js';
import { percent, type Facts, type Scene } from '../scene.js';

const WATCH_MS = 5_000;
/** Lowest accuracy in the field, against held-out data, that still counts as the same world. */
const MAX_GAP = 0.08;

/** 5. Applications ask over the Open Inference Protocol and send the truth back; the control plane sees the accuracy in the field. */
export async function serve(scene: Scene, facts: Facts): Promise<string> {
  const before = totals(facts.applications.values());
  const sinceMs = Date.now();
  await delay(WATCH_MS, undefined, { signal: scene.signal });
  const after = totals(facts.applications.values());
  const requests = after.requests - before.requests;
  const silent = [...facts.applications].filter(([, { counts }]) => counts.requests === 0).map(([id]) => id);
  if (silent.length > 0)
    throw new Error(
      `No answer came from ${silent.join(', ')}: ${facts.applications.get(silent[0] ?? '')?.counts.lastFailure ?? ''}`,
    );
  if (after.failures > 0) throw new Error(`${after.failures} requests failed.`);
  const field = await fieldAccuracy(scene, sinceMs, '1.0.0');
  const heldOut = facts.firstModel?.heldOut.accuracy ?? 0;
  if (field.accuracy === undefined) throw new Error('No labelled inference was reported.');
  if (field.accuracy < heldOut - MAX_GAP)
    throw new Error(`Right on ${percent(field.accuracy)} in the field, ${percent(heldOut)} on held-out rows.`);
  facts.accuracyBefore = field.accuracy;
  const rate = (1000 * requests) / WATCH_MS;
  return `${after.requests} requests of ${scene.devices + 1} applications, 0 failed (${rate.toFixed(0)}/s); ${percent(field.accuracy)} right in the field on ${field.labelled} labelled rows`;
}
