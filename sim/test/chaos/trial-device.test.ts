import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AGENT_MODEL } from '@drover/shared/manifest';
import type { StateBody } from '@drover/shared/protocol';
import { signReport } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, publicKeyOf } from '@drover/shared/trust';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PlannedStep } from '../../src/chaos/campaign/scenarios.js';
import { TrialDevice } from '../../src/chaos/campaign/trial-device.js';
import type { LifeEvent } from '../../src/chaos/device/plan.js';
import { createModelPool, type ModelPool } from '../../src/chaos/releases/model-pool.js';
import { numberedCertificate } from '../../src/chaos/releases/release-server.js';
import {
  createPublisher,
  HARDWARE_CLASS,
  TRIAL_DEVICE,
  TRIAL_MODEL,
  type PublishedRelease,
  type Publisher,
} from '../../src/chaos/releases/releases.js';

const deviceKey = createKeyPair('device');
let pool: ModelPool;
let publisher: Publisher;
let root: string;
let device: TrialDevice;
let release: PublishedRelease;
let order: { deploymentId: string; epoch: number; counter: number };
beforeAll(async () => void (pool = await createModelPool()));
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drover-trial-'));
  publisher = createPublisher(pool);
  device = new TrialDevice({ dataDir: root, publisher });
  release = publisher.publish(device.nextReleaseNumber());
  device.knows(release, false);
  order = publisher.order(release.release).deployment;
});
afterEach(() => rmSync(root, { recursive: true }));

let sequence = 0;
type ModelState = Partial<StateBody['models'][number]>;

const reportOf = (body: StateBody, at = (sequence += 1)): LifeEvent => {
  const frame = { protocol: 1, kind: 'state', deviceId: TRIAL_DEVICE, sequence: at, at: 0, body } as const;
  return { event: 'report', bytesBase64: signReport(frame, bulkSigner(deviceKey)).toString('base64') };
};
const report = (state: ModelState, at?: number): LifeEvent => {
  const models = [{ model: TRIAL_MODEL, update: { state: 'idle' as const }, ...state }];
  return reportOf({ agentVersion: '0.0.0', hardwareClass: HARDWARE_CLASS, attributes: {}, models }, at);
};
const runs = (loaded = release.model.digest): ModelState => ({
  running: { release: release.release, loaded, provider: { requested: ['cpu'], actual: 'cpu' } },
  accepted: { epoch: order.epoch, counter: order.counter },
});
const committed = (): ModelState => ({
  ...runs(),
  lastOutcome: { deploymentId: order.deploymentId as never, release: release.release, outcome: 'committed' },
});
const planned = (): PlannedStep[] => [
  {
    step: { kind: 'order', role: 'first', model: TRIAL_MODEL, bytesBase64: '', deploymentId: order.deploymentId },
    order,
    expected: 'committed',
    release,
  },
];
const acknowledged = (tookMs = 5): LifeEvent => ({
  event: 'acknowledged',
  deploymentId: order.deploymentId,
  tookMs,
});
const identified = (change: { key?: typeof deviceKey; isNew?: boolean; certificate?: number } = {}): LifeEvent => {
  const { key = deviceKey, isNew = false, certificate = 1 } = change;
  return { event: 'identified', publicKey: publicKeyOf(key), certificate: numberedCertificate(certificate), isNew };
};
const judge = (events: LifeEvent[], ending: 'ended' | 'killed' | 'died' = 'ended') => {
  const whole = events[0]?.event === 'identified' ? events : [identified(), ...events];
  return device.judge({ events: whole, ending, complaints: '' }, planned()).map(({ kind }) => kind);
};
const examined = (atStep: number, found: { answer: readonly number[] } | { error: string }): LifeEvent => ({
  event: 'examined',
  atStep,
  agentVersion: '1.0.0',
  ...found,
});
const answer = (): readonly number[] => release.model.answer;

describe('when a life is judged', () => {
  it('finds nothing wrong with a device that does what it says', () => {
    expect(judge([acknowledged(), report(committed()), examined(1, { answer: answer() })])).toEqual([]);
  });

  it('calls it a lie when another model answers than the one that is reported', () => {
    const other = pool.plain[2];
    expect(judge([report(runs()), examined(0, { answer: other?.answer ?? [] })])).toEqual(['lie']);
    expect(judge([report(runs(other?.digest)), examined(0, { answer: other?.answer ?? [] })])).toEqual(['lie']);
  });

  it('calls it a lie when what is reported as running does not answer, and when what is not does', () => {
    expect(judge([report(runs()), examined(0, { error: 'no' })])).toEqual(['lie']);
    expect(judge([report({}), examined(0, { answer: answer() })])).toEqual(['lie']);
  });

  it('calls it a lie when an order that was acknowledged is forgotten', () => {
    const forgetful = report({ ...runs(), accepted: { epoch: 1, counter: order.counter - 1 } });
    expect(judge([acknowledged(), forgetful, examined(0, { answer: answer() })])).toEqual(['lie']);
  });

  it('lets the damage of a file take away how an order ended, also after another model was updated since', () => {
    judge([acknowledged(), report(committed()), examined(1, { answer: answer() })]);
    expect(device.owes().map(({ step }) => 'model' in step && step.model)).toEqual([TRIAL_MODEL]);
    device.wasDamaged();
    const agent = publisher.publishAgent();
    device.knowsAgent(agent, true);
    const ofAgent = publisher.order(agent.release, { model: AGENT_MODEL }).deployment;
    const step: PlannedStep = {
      step: { kind: 'order', role: 'agent', model: AGENT_MODEL, bytesBase64: '', deploymentId: ofAgent.deploymentId },
      order: ofAgent,
    };
    device.judge(
      {
        events: [{ ...acknowledged(), deploymentId: ofAgent.deploymentId } as LifeEvent],
        ending: 'killed',
        complaints: '',
      },
      [step],
    );
    expect(device.owes().map(({ step }) => 'model' in step && step.model)).toEqual([AGENT_MODEL]);
    const forgetful = report({ ...runs(), accepted: { epoch: 1, counter: order.counter - 1 } });
    expect(judge([forgetful, examined(0, { answer: answer() })])).toContain('lie');
  });

  it('calls it a lie when a sequence number is used twice', () => {
    const twice = [report(runs(), 7_000), report({}, 7_000), report(runs())];
    expect(judge([...twice, examined(0, { answer: answer() })])).toEqual(['lie']);
  });

  it('calls a device bricked that served and serves no more, or whose process ends by itself', () => {
    judge([acknowledged(), report(committed()), examined(1, { answer: answer() })]);
    const { running: _running, ...rest } = committed();
    const silent = report(rest);
    expect(judge([silent, examined(0, { error: 'no' })])).toEqual(['bricked']);
    expect(judge([], 'died')).toEqual(['bricked']);
  });

  it('calls it stuck when an order does not get through, or only after a second', () => {
    expect(judge([acknowledged(), report(runs()), examined(1, { answer: answer() })])).toEqual(['stuck']);
    expect(judge([acknowledged(1_001)])).toEqual(['stuck']);
    expect(judge([{ event: 'stuck', step: 1, state: 'fetching' }])).toEqual(['stuck']);
  });

  it('calls a device bricked that enrols again, and it a lie when it has another key or an older certificate', () => {
    judge([identified({ isNew: true })]);
    expect(judge([identified({ isNew: true })])).toEqual(['bricked']);
    expect(judge([identified({ key: createKeyPair('other') })])).toEqual(['lie']);
    judge([{ event: 'renewed', certificate: numberedCertificate(2) }]);
    expect(judge([identified({ certificate: 1 })])).toEqual(['lie']);
  });

  it('calls it a lie when another agent runs than the one that is reported or committed', () => {
    const agent = publisher.publishAgent();
    device.knowsAgent(agent, true);
    const ordered = publisher.order(agent.release, { model: AGENT_MODEL }).deployment;
    const provider = { requested: ['node'], actual: 'node' };
    const state = (hasRun: boolean): LifeEvent => {
      const running = { release: agent.release, loaded: agent.loaded, provider };
      const outcome = { deploymentId: ordered.deploymentId, release: agent.release, outcome: 'committed' as const };
      const models = [
        { model: TRIAL_MODEL, update: { state: 'idle' as const }, ...runs() },
        { model: AGENT_MODEL, update: { state: 'idle' as const }, lastOutcome: outcome, ...(hasRun && { running }) },
      ];
      return reportOf({ agentVersion: '0.0.0', hardwareClass: HARDWARE_CLASS, attributes: {}, models });
    };
    const runsVersion = (agentVersion: string): LifeEvent => ({
      event: 'examined',
      atStep: 0,
      agentVersion,
      answer: answer(),
    });
    expect(judge([state(true), runsVersion(agent.release.version)])).toEqual([]);
    expect(judge([state(true), runsVersion('1.0.0')])).toEqual(['lie', 'lie']);
    expect(judge([state(false), runsVersion('1.0.0')])).toEqual(['lie']);
  });

  it('calls it a lie when an order of the epoch before stands for one of the epoch after', () => {
    device.nextEpoch('recovery');
    order = publisher.order(release.release).deployment;
    const stale = report({ ...runs(), accepted: { epoch: 1, counter: order.counter } });
    expect(judge([acknowledged(), stale, examined(0, { answer: answer() })])).toEqual(['lie']);
  });
});
