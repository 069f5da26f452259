import { writeFileSync } from 'node:fs';
import type { Deployment } from '@drover/shared/protocol';
import { TRIAL_MODEL, type PublishedRelease, type Publisher, type ReleaseKind } from '../releases/releases.js';
import type { ReleaseServer, ServerFault } from '../releases/release-server.js';
import type { LifeStep } from '../device/plan.js';
import type { TrialDevice } from './trial-device.js';

/** How an order has to end when nobody kills the device. */
export type ExpectedOutcome = 'committed' | 'fell-back' | 'refused';

export interface PlannedStep {
  readonly step: LifeStep;
  readonly counter?: number;
  /** Of the last order of the step; undefined where the step is none. */
  readonly expected?: ExpectedOutcome;
  readonly release?: PublishedRelease;
}

interface SceneryOptions {
  readonly device: TrialDevice;
  readonly publisher: Publisher;
  readonly server: ReleaseServer;
  /** What the device runs when the scenario begins. */
  readonly running?: PublishedRelease | undefined;
}

/**
 * What can happen to a model on a device, by the role that the release plays. `first` needs an empty device, all others one that serves. The names
 * are part of the names of kill points.
 */
export const SCENARIOS = {
  first: (scenery) => [order(scenery, 'first', publish(scenery))],
  upgrade: (scenery) => [order(scenery, 'upgrade', publish(scenery))],
  unfit: (scenery) => [order(scenery, 'unfit', publish(scenery, { kind: 'unfit' }), 'fell-back')],
  unhealthy: (scenery) => [order(scenery, 'unhealthy', publish(scenery, { isUnhealthy: true }), 'fell-back')],
  tampered: (scenery) => [
    order(scenery, 'tampered', publish(scenery, { kind: 'novel', fault: 'tampered' }), 'refused'),
  ],
  'cut off': (scenery) => [order(scenery, 'cut off', publish(scenery, { fault: 'cut' }))],
  'way back': (scenery) => wayBack(scenery),
  'runs already': (scenery) => [order(scenery, 'runs already', runningIn(scenery))],
  'superseded in fetching': (scenery) => [supersede(scenery, 'fetching')],
  'superseded in self-testing': (scenery) => [supersede(scenery, 'self-testing')],
  'superseded in probation': (scenery) => [supersede(scenery, 'probation')],
  adaptation: (scenery) => [adapt(scenery), { step: { kind: 'drop-adaptation', role: 'adaptation dropped' } }],
} satisfies Record<string, (scenery: SceneryOptions) => PlannedStep[]>;

export type Scenario = keyof typeof SCENARIOS;

/** The scenario whose steps carry this role. */
export const scenarioOfRole = (role: string): Scenario | undefined =>
  role === 'adaptation dropped' ? 'adaptation' : (Object.keys(SCENARIOS) as Scenario[]).find((name) => name === role);

function publish(
  { device, publisher, server }: SceneryOptions,
  {
    kind,
    isUnhealthy = false,
    fault = 'none',
  }: { kind?: ReleaseKind; isUnhealthy?: boolean; fault?: ServerFault } = {},
): PublishedRelease {
  const published = publisher.publish(device.nextReleaseNumber(), kind);
  device.knows(published, isUnhealthy);
  server.offer(published, fault);
  return published;
}

function order(
  { publisher }: SceneryOptions,
  role: string,
  release: PublishedRelease,
  expected: ExpectedOutcome = 'committed',
  change: Partial<Deployment> = {},
): PlannedStep {
  const { deployment, bytes } = publisher.order(release.release, change);
  return {
    step: { kind: 'order', role, bytesBase64: bytes.toString('base64'), deploymentId: deployment.deploymentId },
    counter: deployment.counter,
    expected,
    release,
  };
}

/** One release further, then back under a grant. */
function wayBack(scenery: SceneryOptions): PlannedStep[] {
  const target = runningIn(scenery);
  const newer = publish(scenery);
  scenery.server.offer(target);
  const expiresAt = Date.now() + 3_600_000;
  const downgrade = { from: newer.release, to: target.release, reason: 'trial', expiresAt, cohort: 'all' };
  return [order(scenery, 'upgrade', newer), order(scenery, 'way back', target, 'committed', { downgrade })];
}

function runningIn({ running }: SceneryOptions): PublishedRelease {
  if (!running) throw new Error('this scenario needs a device that serves');
  return running;
}

function supersede(scenery: SceneryOptions, inState: 'fetching' | 'self-testing' | 'probation'): PlannedStep {
  const role = `superseded in ${inState}` as const;
  const first = order(scenery, role, publish(scenery));
  const second = order(scenery, role, publish(scenery));
  if (first.step.kind !== 'order' || second.step.kind !== 'order') throw new Error('an order is a step of its own');
  return { ...second, step: { kind: 'supersede', role, first: first.step, second: second.step, inState } };
}

function adapt({ device, publisher }: SceneryOptions): PlannedStep {
  const file = `${device.dataDir}.fine-tuned-${TRIAL_MODEL}.onnx`;
  writeFileSync(file, publisher.adapted.bytes);
  return { step: { kind: 'adapt', role: 'adaptation', file, digest: publisher.adapted.digest } };
}
