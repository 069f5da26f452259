import { writeFileSync } from 'node:fs';
import type { ModelName } from '@drover/shared/ids';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { Deployment } from '@drover/shared/protocol';
import {
  TRIAL_MODEL,
  TRIAL_PARAMETERS,
  TRIAL_SITE,
  type Published,
  type PublishedRelease,
  type Publisher,
  type ReleaseKind,
} from '../releases/releases.js';
import type { ReleaseServer, ServerFault } from '../releases/release-server.js';
import type { LifeStep } from '../device/plan.js';
import type { TrialDevice } from './trial-device.js';
import type { TrialParameters } from './trial-parameters.js';

/** How an order has to end when nobody kills the device. */
export type ExpectedOutcome = 'committed' | 'fell-back' | 'refused';

export interface PlannedStep {
  readonly step: LifeStep;
  /** Of the last order of the step; undefined where the step is none. */
  readonly order?: { readonly epoch: number; readonly counter: number };
  readonly expected?: ExpectedOutcome;
  readonly release?: Published;
}

interface SceneryOptions {
  readonly device: TrialDevice;
  readonly parameters: TrialParameters;
  readonly publisher: Publisher;
  readonly server: ReleaseServer;
  /** What the device runs when the scenario begins. */
  readonly running?: PublishedRelease | undefined;
}

/**
 * What can happen on a device, by the role that a release plays. `first` needs an empty device, all others one that serves. The names are part of the
 * names of moments.
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
  // The second takes most chunks from the first, and the others as deltas to it.
  delta: (scenery) => [
    order(scenery, 'delta', publish(scenery, { kind: 'indexed' })),
    order(scenery, 'delta', publish(scenery, { kind: 'indexed' })),
  ],
  'delta cut off': (scenery) => [
    order(scenery, 'delta cut off', publish(scenery, { kind: 'indexed', fault: 'cut' })),
    order(scenery, 'delta cut off', publish(scenery, { kind: 'indexed', fault: 'cut' })),
  ],
  'way back': (scenery) => wayBack(scenery),
  'runs already': (scenery) => [order(scenery, 'runs already', runningIn(scenery))],
  'superseded in fetching': (scenery) => [supersede(scenery, 'fetching')],
  'superseded in self-testing': (scenery) => [supersede(scenery, 'self-testing')],
  'superseded in probation': (scenery) => [supersede(scenery, 'probation')],
  adaptation: (scenery) => [adapt(scenery), { step: { kind: 'drop-adaptation', role: 'adaptation' } }],
  // The owners of the repository replace a key: metadata that it signed is forgotten.
  'key replaced': (scenery) => {
    scenery.publisher.replaceOnlineKey();
    return [order(scenery, 'key replaced', publish(scenery))];
  },
  recovery: (scenery) => [scenery.device.nextEpoch('recovery'), order(scenery, 'recovery', publish(scenery))],
  renewal: () => [{ step: { kind: 'renew', role: 'renewal' } }],
  agent: (scenery) => [orderAgent(scenery, 'agent', 'committed')],
  parameters: (scenery) => [orderParameters(scenery)],
  'unreachable agent': (scenery) => [orderAgent(scenery, 'unreachable agent', 'fell-back')],
} satisfies Record<string, (scenery: SceneryOptions) => PlannedStep[]>;

export type Scenario = keyof typeof SCENARIOS;
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as Scenario[];

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
  release: Published,
  expected: ExpectedOutcome = 'committed',
  change: Partial<Deployment> = {},
): PlannedStep & { readonly step: Extract<LifeStep, { kind: 'order' }> } {
  const { deployment, bytes } = publisher.order(release.release, change);
  const { deploymentId, epoch, counter, model } = deployment;
  return {
    step: { kind: 'order', role, model, bytesBase64: bytes.toString('base64'), deploymentId },
    order: { epoch, counter },
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
  return [order(scenery, 'way back', newer), order(scenery, 'way back', target, 'committed', { downgrade })];
}

function runningIn({ running }: SceneryOptions): PublishedRelease {
  if (!running) throw new Error('this scenario needs a device that serves');
  return running;
}

function supersede(scenery: SceneryOptions, inState: 'fetching' | 'self-testing' | 'probation'): PlannedStep {
  const role = `superseded in ${inState}`;
  const first = order(scenery, role, publish(scenery));
  const second = order(scenery, role, publish(scenery));
  const step = {
    kind: 'supersede',
    role,
    model: TRIAL_MODEL,
    first: first.step,
    second: second.step,
    inState,
  } as const;
  return { ...second, step };
}

function adapt({ device, publisher }: SceneryOptions): PlannedStep {
  const file = `${device.dataDir}.fine-tuned-${TRIAL_MODEL}.onnx`;
  const { bytes, digest } = publisher.pool.adapted;
  writeFileSync(file, bytes);
  return { step: { kind: 'adapt', role: 'adaptation', file, digest } };
}

/** The one that cannot reach anybody has to be taken back when its probation is over. */
function orderAgent(scenery: SceneryOptions, role: string, expected: 'committed' | 'fell-back'): PlannedStep {
  const { device, publisher, server } = scenery;
  const published = publisher.publishAgent();
  device.knowsAgent(published, expected === 'committed');
  server.offer(published);
  const probation = {
    minMs: 10,
    minRequests: 0,
    maxMs: expected === 'committed' ? 30_000 : 60,
    maxFailureShare: 0.1,
    maxCrashes: 2,
  };
  return order(scenery, role, published, expected, { model: AGENT_MODEL satisfies ModelName, probation });
}

function orderParameters(scenery: SceneryOptions): PlannedStep {
  const { parameters, publisher, server } = scenery;
  const published = publisher.publishParameters();
  parameters.knows(published);
  server.offer(published);
  const ordered = order(scenery, 'parameters', published, 'committed', { model: TRIAL_PARAMETERS, site: TRIAL_SITE });
  parameters.isOrdered(ordered.step.deploymentId);
  return ordered;
}
