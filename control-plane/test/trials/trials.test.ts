import type { FastifyInstance } from 'fastify';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newTrialId, Version } from '@drover/shared/ids';
import { trialOf } from '@drover/shared/manifest';
import type { ComparisonCounts, Deployment, ReportBody } from '@drover/shared/protocol';
import { createApp } from '../../src/app.js';
import { openBlobDirectory } from '../../src/blobs/index.js';
import { Authorities } from '../../src/certificate-authority/index.js';
import { deviceCertificates } from '../../src/devices/index.js';
import { tokens, type Role } from '../../src/governance/index.js';
import { withdrawRelease } from '../../src/registry/publish.js';
import { openOnlineKeys, releaseRepository } from '../../src/release-repository/index.js';
import { deviceViews } from '../../src/telemetry/index.js';
import { createTrials, trialMetrics, trialRoutes } from '../../src/trials/index.js';
import { enrolmentFactsOf } from '../control-plane-fixture.js';
import { createWorld, MODEL, until, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';

const LINE = trialOf(MODEL);
const HOUR_MS = 3_600_000;
const shadow = {
  model: MODEL,
  version: '1.1.0',
  selector: { attributes: { site: 'lab' } },
  mode: 'shadow',
  share: 0.1,
  durationMs: 2 * HOUR_MS,
};

let world: World;
let app: FastifyInstance;
let directory: string;
let [alpha, beta, elsewhere]: ScriptedDevice[] = [];
let [serving, candidate]: Release[] = [];
beforeEach(async () => {
  world = await createWorld();
  directory = mkdtempSync(join(tmpdir(), 'drover-trials-'));
  const { db, director } = world;
  const now = () => world.clock.nowMs;
  const blobs = await openBlobDirectory({ directory, maxBytes: 1000 });
  const onError = (error: unknown) => world.errors.push(error);
  app = createApp({
    db,
    blobs,
    repository: releaseRepository({ db, files: blobs, keys: openOnlineKeys(join(directory, 'online-keys')), now }),
    now,
    log: pino({ level: 'silent' }),
    version: 'test',
    enrolment: enrolmentFactsOf(world.broker.url),
    certificates: deviceCertificates(await Authorities.open(join(directory, 'ca'), Date.now), 1000),
    history: { isLostTime: () => Promise.resolve(false) },
    onRevoked: () => Promise.resolve(),
    reported: deviceViews(db),
    routes: [trialRoutes({ db, now, trials: createTrials({ db, director, now, onError }) })],
    metrics: [trialMetrics(db, now)],
  });
  await app.ready();
  serving = await world.publish('1.0.0');
  candidate = await world.publish('1.1.0');
  alpha = await deviceAt('alpha', 'lab');
  beta = await deviceAt('beta', 'lab');
  elsewhere = await deviceAt('gamma', 'field');
});
afterEach(async () => {
  await app.close();
  await world.close();
  rmSync(directory, { recursive: true });
  expect(world.errors).toEqual([]);
});

async function deviceAt(name: string, site: string): Promise<ScriptedDevice> {
  const device = await world.device(name, site);
  // Only what the tests have it say counts.
  device.conduct = 'is-silent';
  await says(device);
  return device;
}

type ModelState = ReportBody<'state'>['models'][number];
/** What a device says about the trial; nothing of it unless given. */
function says(device: ScriptedDevice, trial?: Omit<ModelState, 'model'>, takes = ['model', 'trial']): Promise<void> {
  return device.report('state', {
    agentVersion: 'test',
    hardwareClass: 'cpu-small',
    attributes: {},
    takes,
    models: trial ? [{ model: LINE, ...trial }] : [],
  });
}

interface Answer {
  readonly id: string;
  readonly state: string;
  readonly members: readonly { readonly device: string; readonly state: string }[];
  readonly comparison: { readonly agreement?: { readonly mean: number } };
  readonly error?: { readonly code: string; readonly what: string };
}
const call = async (role: Role, method: 'GET' | 'POST', url: string, payload?: object) => {
  const name = `${role} ${Math.random()}`;
  const { token } = await tokens(world.db).create({ name, role, createdBy: 'test', at: 0 });
  const answer = await app.inject({
    method,
    url: `/api/v1${url}`,
    headers: { authorization: `Bearer ${token}` },
    ...(payload ? { payload } : {}),
  });
  const body = answer.json<Answer>();
  return { status: answer.statusCode, body, code: body.error?.code };
};
const start = async (change: object = {}) => (await call('operator', 'POST', '/trials', { ...shadow, ...change })).body;
const show = async (id: string) => (await call('viewer', 'GET', `/trials/${id}`)).body;
const arrived = async (device: ScriptedDevice | undefined, count: number): Promise<Deployment> => {
  await until(
    () => Promise.resolve((device?.orders.length ?? 0) >= count),
    () => new Promise((resolve) => setTimeout(resolve, 10)),
  );
  return device?.orders.at(-1) as Deployment;
};
const underWay = (order: Deployment, state: ModelState['update']['state'] = 'probation') => ({
  update: { state, deploymentId: order.deploymentId, release: order.release },
  accepted: { epoch: order.epoch, counter: order.counter },
});

describe('when an operator starts a trial', () => {
  it('orders it of the devices that are meant, under the name of the trial, and says how it stands there', async () => {
    const { id, members } = await start({ tolerance: { absolute: 0.1, relative: 0 } });
    expect(members).toEqual([
      { device: 'alpha', state: 'waiting' },
      { device: 'beta', state: 'waiting' },
    ]);
    const order = await arrived(alpha, 1);
    expect(order).toMatchObject({
      model: LINE,
      release: candidate,
      trial: {
        mode: 'shadow',
        share: 0.1,
        tolerance: { absolute: 0.1, relative: 0 },
        until: world.clock.nowMs + shadow.durationMs,
      },
    });
    expect(elsewhere?.orders).toEqual([]);
    await says(alpha as ScriptedDevice, underWay(order, 'fetching'));
    expect((await show(id)).members[0]?.state).toBe('beginning');
    await says(alpha as ScriptedDevice, underWay(order));
    const failed = { code: 'TRIAL_INCOMPATIBLE', what: 'Other outputs.', remedy: 'None.' };
    const other = await arrived(beta, 1);
    await says(beta as ScriptedDevice, {
      update: { state: 'idle' },
      accepted: { epoch: other.epoch, counter: other.counter },
      lastOutcome: { deploymentId: other.deploymentId, release: other.release, outcome: 'fell-back', error: failed },
    });
    expect((await show(id)).members).toMatchObject([{ state: 'running' }, { state: 'failed', error: failed }]);
    expect((await call('viewer', 'GET', '/trials')).body).toMatchObject({ items: [{ id, state: 'running' }] });
  });

  it('says what was found, on each device and in all', async () => {
    const { id } = await start();
    const counts = (compared: number, mean: number): ComparisonCounts => ({
      model: MODEL,
      active: { release: serving as Release },
      candidate: candidate as Release,
      mode: 'shadow',
      outcomes: { compared, answered: 0, left: 0, failed: 1, dropped: 2 },
      agreement: {
        measure: 'same-class',
        mean,
        compared,
        lowest: 0,
        beyondTolerance: 0,
        largestDifference: 0.5,
        tenths: [compared - 1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
      },
      latencies: {
        active: { count: compared, meanUs: 100, p50Us: 90, p99Us: 200, maxUs: 300 },
        candidate: { count: compared, meanUs: 150, p50Us: 90, p99Us: 400, maxUs: 900 },
      },
      classes: { active: { 0: compared }, candidate: { 0: compared - 1, 1: 1 } },
    });
    const tells = (device: ScriptedDevice | undefined, comparisons: ComparisonCounts[]) =>
      device?.report('telemetry', { windowMs: 1000, models: [], comparisons });
    await tells(alpha, [counts(30, 0.5)]);
    await tells(beta, [counts(10, 0.9)]);
    await tells(elsewhere, [counts(1000, 0)]);
    const found = await show(id);
    expect(found.comparison).toMatchObject({
      outcomes: { compared: 40, failed: 2, dropped: 4 },
      agreement: { measure: 'same-class', compared: 40 },
      latencyRatio: 1.5,
      classShift: expect.closeTo(0.05, 10) as unknown,
    });
    expect(found.comparison.agreement?.mean).toBeCloseTo(0.6);
    expect(found.members).toMatchObject([{ comparison: { outcomes: { compared: 30 } } }, {}]);
    const metrics = await app.inject({ url: '/metrics', headers: { authorization: await bearer() } });
    expect(metrics.body).toContain(`drover_trial_agreement{trial="${id}",model="${MODEL}",version="1.1.0"} 0.6`);
    expect(metrics.body).toContain(`drover_trial_class_shift{trial="${id}",model="${MODEL}",version="1.1.0"} 0.0`);
  });

  it('signs the order anew, on the same terms, when it expired before a device came', async () => {
    await alpha?.leave();
    await start({ durationMs: 72 * HOUR_MS });
    const first = await arrived(beta, 1);
    world.clock.nowMs += 25 * HOUR_MS;
    await alpha?.join();
    await says(alpha as ScriptedDevice);
    const order = await arrived(alpha, 1);
    expect(order.trial).toEqual(first.trial);
    expect(order.expiresAt).toBeGreaterThan(world.clock.nowMs);
  });

  it('sends nothing of it when its time has passed', async () => {
    await alpha?.leave();
    const { id } = await start();
    world.clock.nowMs += 3 * HOUR_MS;
    await alpha?.join();
    await says(alpha as ScriptedDevice);
    await world.director.settle((alpha as ScriptedDevice).id);
    expect(alpha?.orders).toEqual([]);
    expect((await show(id)).state).toBe('over');
  });
});

describe('when an operator ends a trial', () => {
  it('orders its end, once', async () => {
    const { id } = await start();
    const order = await arrived(alpha, 1);
    await says(alpha as ScriptedDevice, underWay(order));
    expect(await call('operator', 'POST', `/trials/${id}/end`)).toMatchObject({ status: 200, body: { state: 'over' } });
    const end = await arrived(alpha, 2);
    expect(end).toMatchObject({ model: LINE, trial: { mode: 'shadow', until: world.clock.nowMs } });
    expect(end.counter).toBeGreaterThan(order.counter);
    await says(alpha as ScriptedDevice, {
      update: { state: 'idle' },
      accepted: { epoch: end.epoch, counter: end.counter },
      lastOutcome: { deploymentId: end.deploymentId, release: end.release, outcome: 'committed' },
    });
    expect((await show(id)).members[0]?.state).toBe('over');
    const before = alpha?.orders.length;
    await call('operator', 'POST', `/trials/${id}/end`);
    await world.director.settle((alpha as ScriptedDevice).id);
    expect(alpha?.orders.length).toBe(before);
    const actions = await world.db
      .selectFrom('audit')
      .select('action')
      .where('subject', '=', id as never)
      .orderBy('sequence')
      .execute();
    expect(actions.map(({ action }) => action)).toEqual(['trial.start', 'trial.end']);
  });

  it('lets another begin on the same devices', async () => {
    const { id } = await start();
    await call('operator', 'POST', `/trials/${id}/end`);
    expect((await start()).id).not.toBe(id);
  });
});

describe('when a trial cannot be started, it says why and orders nothing', () => {
  const refused = async (change: object = {}) => {
    const answer = await call('operator', 'POST', '/trials', { ...shadow, ...change });
    expect(await world.db.selectFrom('orders').selectAll().where('model', '=', LINE).execute()).toHaveLength(0);
    return [answer.status, answer.code];
  };

  it('for want of agents that take trials', async () => {
    await says(beta as ScriptedDevice, undefined, ['model', 'agent']);
    expect(await refused()).toEqual([409, 'TRIAL_NOT_TAKEN']);
  });

  it.each([
    ['for want of devices', { selector: { devices: ['nobody'] } }, [422, 'TRIAL_NO_DEVICES']],
    ['for want of the release', { version: '9.9.9' }, [404, 'RELEASE_UNKNOWN']],
    ['for a share of nothing', { share: 0 }, [400, 'REQUEST_INVALID']],
    ['for a time without end', { durationMs: 365 * 24 * HOUR_MS }, [400, 'REQUEST_INVALID']],
  ])('%s', async (_, change, expected) => {
    expect(await refused(change)).toEqual(expected);
  });

  it('since its publishers have withdrawn it', async () => {
    await withdrawRelease(world.db, { model: MODEL, version: Version('1.1.0'), by: 'anna', at: 1 });
    expect(await refused()).toEqual([409, 'RELEASE_WITHDRAWN']);
  });

  it('since another is under way there', async () => {
    const { id } = await start();
    const answer = await call('operator', 'POST', '/trials', shadow);
    expect([answer.status, answer.code]).toEqual([409, 'TRIAL_OVERLAP']);
    expect(answer.body.error?.what).toContain(id);
  });

  it('to whoever may only look, and about what there is not', async () => {
    expect((await call('viewer', 'POST', '/trials', shadow)).status).toBe(403);
    expect(await call('viewer', 'GET', `/trials/${newTrialId()}`)).toMatchObject({
      status: 404,
      code: 'TRIAL_UNKNOWN',
    });
    expect(await call('operator', 'POST', `/trials/${newTrialId()}/end`)).toMatchObject({ code: 'TRIAL_UNKNOWN' });
  });
});

const bearer = async (): Promise<string> => {
  const { token } = await tokens(world.db).create({ name: 'metrics', role: 'viewer', createdBy: 'test', at: 0 });
  return `Bearer ${token}`;
};
