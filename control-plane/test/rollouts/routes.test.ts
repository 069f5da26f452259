import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newRolloutId } from '@drover/shared/ids';
import { createApp } from '../../src/app.js';
import { Authorities } from '../../src/certificate-authority/index.js';
import { deviceCertificates } from '../../src/devices/index.js';
import { openBlobDirectory } from '../../src/blobs/index.js';
import { tokens, type Role } from '../../src/governance/index.js';
import { openOnlineKeys, releaseRepository } from '../../src/release-repository/index.js';
import { rolloutMetrics, rolloutRoutes } from '../../src/rollouts/index.js';
import { deviceViews, telemetryMetrics, telemetryRoutes } from '../../src/telemetry/index.js';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enrolmentFactsOf } from '../control-plane-fixture.js';
import { createWorld, MODEL, request, type ScriptedDevice, type World } from './world.js';

interface Answer {
  readonly id?: string;
  readonly error?: { readonly code: string; readonly what: string };
}

describe('the routes of rollouts and telemetry', () => {
  let world: World;
  let app: FastifyInstance;
  let directory: string;
  let device: ScriptedDevice;

  beforeEach(async () => {
    world = await createWorld();
    directory = mkdtempSync(join(tmpdir(), 'drover-routes-'));
    const { db, engine } = world;
    const now = () => world.clock.nowMs;
    const blobs = await openBlobDirectory({ directory, maxBytes: 1000 });
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
      routes: [rolloutRoutes({ db, engine }), telemetryRoutes({ db })],
      metrics: [rolloutMetrics(db), telemetryMetrics(db)],
    });
    await app.ready();
    device = await world.device('alpha');
    await device.preinstall(await world.publish('1.0.0'));
    await world.publish('1.1.0');
  });
  afterEach(async () => {
    await app.close();
    await world.close();
    rmSync(directory, { recursive: true });
  });

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

  it('when an operator creates a rollout, it can be seen, watched, steered and aborted', async () => {
    const created = await call('operator', 'POST', '/rollouts', request('1.1.0'));
    expect(created).toMatchObject({
      status: 201,
      body: {
        model: MODEL,
        release: { version: '1.1.0' },
        state: 'running',
        devices: { total: 1 },
        members: [{ device: 'alpha' }],
      },
    });
    const id = created.body.id ?? '';
    await world.engine.tick();
    expect(await call('viewer', 'GET', '/rollouts')).toMatchObject({
      status: 200,
      body: { items: [{ id, state: 'running' }] },
    });
    expect(await call('viewer', 'GET', `/rollouts/${id}`)).toMatchObject({
      status: 200,
      body: { stageRuns: [{ stage: 0 }] },
    });
    const events = await call('viewer', 'GET', `/rollouts/${id}/events?limit=2`);
    expect(events).toMatchObject({
      status: 200,
      body: { items: [{ kind: 'rollout.created' }, { kind: 'stage.begun' }], next: 2 },
    });
    expect(await call('viewer', 'GET', `/rollouts/${id}/events?after=2&limit=1`)).toMatchObject({
      body: { items: [{ kind: 'device.ordered' }] },
    });
    expect(await call('operator', 'POST', `/rollouts/${id}/pause`)).toMatchObject({
      status: 200,
      body: { state: 'paused' },
    });
    expect(await call('operator', 'POST', `/rollouts/${id}/pause`)).toMatchObject({
      status: 409,
      code: 'ROLLOUT_TRANSITION_REFUSED',
    });
    expect(await call('operator', 'POST', `/rollouts/${id}/resume`)).toMatchObject({
      status: 200,
      body: { state: 'running' },
    });
    expect(await call('operator', 'POST', '/rollouts', request('1.0.0'))).toMatchObject({
      status: 409,
      code: 'ROLLOUT_OVERLAP',
    });
    const abort = { revert: false, reason: 'a test' };
    expect(await call('operator', 'POST', `/rollouts/${id}/abort`, abort)).toMatchObject({
      status: 200,
      body: { state: 'aborted' },
    });
    const actions = await world.db
      .selectFrom('audit')
      .select('action')
      .where('subject', '=', id as never)
      .orderBy('sequence')
      .execute();
    expect(actions.map(({ action }) => action)).toEqual([
      'rollout.create',
      'rollout.pause',
      'rollout.resume',
      'rollout.abort',
    ]);
  });

  it('when the request cannot be carried out, it says everything that is wrong with it, and stores nothing', async () => {
    const bad = request('1.1.0', {
      stages: [
        { name: 'half', share: 0.5 },
        { name: 'less', share: 0.2 },
      ],
    });
    bad.gate.unacceptableDrop = 0;
    const refused = await call('operator', 'POST', '/rollouts', bad);
    expect(refused).toMatchObject({ status: 422, code: 'ROLLOUT_INVALID' });
    expect(refused.body.error?.what).toMatch(
      /stage "less" must be larger.*last stage must have "share": 1.*"unacceptableDrop" must be larger/,
    );
    expect(await call('operator', 'POST', '/rollouts', request('9.9.9'))).toMatchObject({
      status: 404,
      code: 'RELEASE_UNKNOWN',
    });
    const nobody = request('1.1.0', { selector: { attributes: { site: 'nowhere' } } });
    expect(await call('operator', 'POST', '/rollouts', nobody)).toMatchObject({
      status: 422,
      code: 'ROLLOUT_NO_DEVICES',
    });
    expect(await call('operator', 'POST', '/rollouts', { ...request('1.1.0'), surprise: 1 })).toMatchObject({
      status: 400,
    });
    expect(await call('viewer', 'POST', '/rollouts', request('1.1.0'))).toMatchObject({ status: 403 });
    expect(await call('viewer', 'GET', '/rollouts')).toMatchObject({ body: { items: [] } });
    expect(await call('viewer', 'GET', `/rollouts/${newRolloutId()}`)).toMatchObject({
      status: 404,
      code: 'ROLLOUT_UNKNOWN',
    });
  });

  it('when devices have reported, their words, the field and the figures are there', async () => {
    await device.serve(20, 15);
    expect(await call('viewer', 'GET', '/reports?kind=telemetry&device=alpha')).toMatchObject({
      status: 200,
      body: { items: [{ deviceId: 'alpha', kind: 'telemetry', body: { windowMs: 1000 } }] },
    });
    expect(await call('viewer', 'GET', '/reports?kind=nonsense')).toMatchObject({ status: 400 });
    expect(await call('viewer', 'GET', `/models/${MODEL}/field`)).toMatchObject({
      body: { items: [{ labelled: 20, accuracy: 0.75 }] },
    });
    expect(await call('viewer', 'GET', '/devices/alpha')).toMatchObject({
      body: { models: [{ model: MODEL, running: { release: { version: '1.0.0' } } }], desired: [] },
    });
    const { token } = await tokens(world.db).create({ name: 'scraper', role: 'viewer', createdBy: 'test', at: 0 });
    const { body } = await app.inject({ url: '/metrics', headers: { authorization: `Bearer ${token}` } });
    expect(body).toContain('drover_devices_running{model="gas-classifier",version="1.0.0"} 1');
    expect(body).toContain('drover_rollouts{state="running"} 0');
  });
});
