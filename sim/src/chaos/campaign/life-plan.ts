import type { KillPlan, LifePlan } from '../device/plan.js';
import type { ReleaseServer } from '../releases/release-server.js';
import { HARDWARE_CLASS, TRIAL_DEVICE, TRIAL_MODEL, TRIAL_SITE, type Publisher } from '../releases/releases.js';
import type { PlannedStep } from './scenarios.js';
import type { TrialDevice } from './trial-device.js';

/** All that a process needs to know for one life of a device. */
export function lifePlan(
  { dataDir, unhealthy, unreachable }: TrialDevice,
  planned: readonly PlannedStep[],
  { publisher, server, kill }: { publisher: Publisher; server: ReleaseServer; kill?: KillPlan | undefined },
): LifePlan {
  return {
    device: {
      dataDir,
      serverUrl: server.url,
      deviceId: TRIAL_DEVICE,
      model: TRIAL_MODEL,
      hardwareClass: HARDWARE_CLASS,
      site: TRIAL_SITE,
      pinnedRoot: publisher.pinnedRoot,
      probe: publisher.pool.probe,
      unhealthy,
      unreachable,
    },
    steps: planned.map(({ step }) => step),
    ...(kill ? { kill } : {}),
  };
}
