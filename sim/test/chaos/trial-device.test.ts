import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StateBody } from '@drover/shared/protocol';
import { signReport } from '@drover/shared/protocol';
import { bulkSigner } from '@drover/shared/trust';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PlannedStep } from '../../src/chaos/campaign/scenarios.js';
import { TrialDevice } from '../../src/chaos/campaign/trial-device.js';
import type { LifeEvent } from '../../src/chaos/device/plan.js';
import {
  createPublisher,
  HARDWARE_CLASS,
  TRIAL_DEVICE,
  TRIAL_MODEL,
  type PublishedRelease,
  type Publisher,
} from '../../src/chaos/releases/releases.js';

let publisher: Publisher;
let root: string;
let device: TrialDevice;
let release: PublishedRelease;
let order: { deploymentId: string; counter: number };
beforeAll(async () => void (publisher = await createPublisher()));
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drover-trial-'));
  device = new TrialDevice({ dataDir: root, publisher });
  release = publisher.publish(device.nextReleaseNumber());
  device.knows(release, false);
  order = publisher.order(release.release).deployment;
});
afterEach(() => rmSync(root, { recursive: true }));

let sequence = 0;
type ModelState = Partial<StateBody['models'][number]>;

const report = (state: ModelState, at = (sequence += 1)): LifeEvent => {
  const models = [{ model: TRIAL_MODEL, update: { state: 'idle' as const }, ...state }];
  const body: StateBody = { agentVersion: '0.0.0', hardwareClass: HARDWARE_CLASS, attributes: {}, models };
  const signer = bulkSigner(publisher.deviceKey);
  const bytes = signReport({ protocol: 1, kind: 'state', deviceId: TRIAL_DEVICE, sequence: at, at: 0, body }, signer);
  return { event: 'report', bytesBase64: bytes.toString('base64') };
};
const runs = (loaded = release.model.digest): ModelState => ({
  running: { release: release.release, loaded, provider: { requested: ['cpu'], actual: 'cpu' } },
  accepted: { epoch: 1, counter: order.counter },
});
const committed = (): ModelState => ({
  ...runs(),
  lastOutcome: { deploymentId: order.deploymentId as never, release: release.release, outcome: 'committed' },
});
const planned = (): PlannedStep[] => [
  {
    step: { kind: 'order', role: 'first', bytesBase64: '', deploymentId: order.deploymentId },
    counter: order.counter,
    expected: 'committed',
    release,
  },
];
const acknowledged = (tookMs = 5): LifeEvent => ({
  event: 'acknowledged',
  deploymentId: order.deploymentId,
  tookMs,
});
const judge = (events: LifeEvent[], ending: 'ended' | 'killed' | 'died' = 'ended') =>
  device.judge({ events, ending, complaints: '' }, planned()).map(({ kind }) => kind);
const answer = (): readonly number[] => release.model.answer;

describe('when a life is judged', () => {
  it('finds nothing wrong with a device that does what it says', () => {
    expect(judge([acknowledged(), report(committed()), { event: 'examined', atStep: 1, answer: answer() }])).toEqual(
      [],
    );
  });

  it('calls it a lie when another model answers than the one that is reported', () => {
    const other = publisher.models[2];
    expect(judge([report(runs()), { event: 'examined', atStep: 0, answer: other?.answer ?? [] }])).toEqual(['lie']);
    expect(judge([report(runs(other?.digest)), { event: 'examined', atStep: 0, answer: other?.answer ?? [] }])).toEqual(
      ['lie'],
    );
  });

  it('calls it a lie when what is reported as running does not answer, and when what is not does', () => {
    expect(judge([report(runs()), { event: 'examined', atStep: 0, error: 'no' }])).toEqual(['lie']);
    expect(judge([report({}), { event: 'examined', atStep: 0, answer: answer() }])).toEqual(['lie']);
  });

  it('calls it a lie when an order that was acknowledged is forgotten', () => {
    const forgetful = report({ ...runs(), accepted: { epoch: 1, counter: order.counter - 1 } });
    expect(judge([acknowledged(), forgetful, { event: 'examined', atStep: 0, answer: answer() }])).toEqual(['lie']);
  });

  it('calls it a lie when a sequence number is used twice', () => {
    const twice = [report(runs(), 7_000), report({}, 7_000), report(runs())];
    expect(judge([...twice, { event: 'examined', atStep: 0, answer: answer() }])).toEqual(['lie']);
  });

  it('calls a device bricked that served and serves no more, or whose process ends by itself', () => {
    judge([acknowledged(), report(committed()), { event: 'examined', atStep: 1, answer: answer() }]);
    const { running: _running, ...rest } = committed();
    const silent = report(rest);
    expect(judge([silent, { event: 'examined', atStep: 0, error: 'no' }])).toEqual(['bricked']);
    expect(judge([], 'died')).toEqual(['bricked']);
  });

  it('calls it stuck when an order does not get through, or only after a second', () => {
    expect(judge([acknowledged(), report(runs()), { event: 'examined', atStep: 1, answer: answer() }])).toEqual([
      'stuck',
    ]);
    expect(judge([acknowledged(1_001)])).toEqual(['stuck']);
    expect(judge([{ event: 'stuck', step: 1, state: 'fetching' }])).toEqual(['stuck']);
  });
});
