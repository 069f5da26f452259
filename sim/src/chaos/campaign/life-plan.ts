import { roleOf, type KillPlan, type LifePlan } from '../device/plan.js';
import type { ReleaseServer } from '../releases/release-server.js';
import { HARDWARE_CLASS, TRIAL_DEVICE, TRIAL_MODEL, TRIAL_SITE, type Publisher } from '../releases/releases.js';
import type { Kill } from './planner.js';
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

/** What the device itself is to do of a decision to kill it; undefined where it is not killed, or from outside. */
export function killPlan(kill: Kill, planned: readonly PlannedStep[], fromStep: number): KillPlan | undefined {
  if (kill.at === 'time' || kill.at === 'none') return undefined;
  if (kill.at === 'write') return { ...kill, fromStep };
  const { otherwise: occurrence, ...place } = kill;
  const from = kill.at === 'moment' ? Math.max(fromStep, stepAfter(roleOf(kill.moment), planned)) : fromStep;
  return { ...place, fromStep, otherwise: { fromStep: from, occurrence } };
}

/** The first step after the last one of a role; 0 is the restart, which has a role of its own. */
const stepAfter = (role: string, planned: readonly PlannedStep[]): number =>
  planned.findLastIndex(({ step }) => step.role === role) + 2;
