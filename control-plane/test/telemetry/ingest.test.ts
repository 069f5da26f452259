import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceId } from '@drover/shared/ids';
import { reportsTopic, signReport, type Report, type RepositoryStanding } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair } from '@drover/shared/trust';
import { deviceDirectory } from '../../src/devices/index.js';
import { audit } from '../../src/governance/index.js';
import {
  createIngest,
  deviceViews,
  fieldAccuracy,
  fieldMetrics,
  listReports,
  pruneReports,
  REPORT_LIMITS,
  telemetryMetrics,
  type Ingest,
} from '../../src/telemetry/index.js';
import { withdrawRelease } from '../../src/registry/index.js';
import { kindsOfQueries } from '../database/kinds-of-queries.js';
import { createWorld, MODEL, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';

describe('ingesting reports', () => {
  let world: World;
  let device: ScriptedDevice;
  let release: Release;
  let ingest: Ingest;

  beforeEach(async () => {
    world = await createWorld();
    release = await world.publish('1.0.0');
    device = await world.device('alpha');
    await device.preinstall(release);
    ingest = createIngest({ db: world.db, devices: deviceDirectory(world.db), now: () => world.clock.nowMs });
  });
  afterEach(() => world.close());

  const drift = (sequence: number, status: 'raised' | 'cleared' = 'raised'): Report => ({
    protocol: 1,
    kind: 'drift',
    deviceId: device.id,
    sequence,
    at: world.clock.nowMs,
    body: {
      model: MODEL,
      release,
      status,
      detector: 'ks',
      windowSize: 200,
      windowEndAt: 0,
      statistic: 0.4,
      threshold: 0.2,
      falseAlarmRate: 0.01,
      worst: [],
    },
  });
  const receive = (report: Report) => ingest.receive(reportsTopic(device.id), device.signed(report));
  const stored = async () => (await listReports(world.db, { kind: 'drift' })).map(({ sequence }) => sequence);

  it('when a report is delivered again, it is stored once and counted once', async () => {
    expect(await receive(drift(100))).toBe('stored');
    expect(await receive(drift(100))).toBe('repeated');
    expect(await receive(drift(100))).toBe('repeated');
    expect(await stored()).toEqual([100]);
    // Seen in /metrics, and no event by itself: it also happens to honest devices on a bad link.
    expect(await world.db.selectFrom('report_refusals').select(['code', 'count']).execute()).toEqual([
      { code: 'REPORT_REPEATED', count: 2 },
    ]);
    expect((await audit(world.db).list({ limit: 1000 })).filter(({ action }) => action === 'report.refused')).toEqual(
      [],
    );
  });

  it('when a device lost its outbox and counts from 1 again, it is still heard', async () => {
    await receive(drift(100, 'raised'));
    world.clock.nowMs += 1000;
    expect(await receive(drift(1, 'cleared'))).toBe('stored');
    expect(await receive(drift(100, 'cleared'))).toBe('stored');
    expect(await stored()).toEqual([100, 1, 100]);
  });

  it('when somebody else signed it, it is refused, counted, and audited once a minute', async () => {
    const forged = signReport(drift(7), bulkSigner(createKeyPair('mallory')));
    for (let attempt = 0; attempt < 5; attempt++)
      expect(await ingest.receive(reportsTopic(device.id), forged)).toBe('refused');
    expect(await stored()).toEqual([]);
    expect(await world.db.selectFrom('report_refusals').select(['code', 'count']).execute()).toEqual([
      { code: 'SIGNATURE_BELOW_THRESHOLD', count: 5 },
    ]);
    const entries = (await audit(world.db).list({ limit: 1000 })).filter(({ action }) => action === 'report.refused');
    expect(entries).toMatchObject([{ actor: 'alpha', detail: { code: 'SIGNATURE_BELOW_THRESHOLD' } }]);
  });

  it("when it arrives on another device's topic, by a device that never enrolled, or is no envelope, it is refused", async () => {
    const beta = await world.device('beta');
    expect(await ingest.receive(reportsTopic(beta.id), device.signed(drift(7)))).toBe('refused');
    expect(await ingest.receive(reportsTopic(DeviceId('stranger')), device.signed(drift(7)))).toBe('refused');
    expect(await ingest.receive(reportsTopic(device.id), Buffer.from('hello'))).toBe('refused');
    const codes = await world.db.selectFrom('report_refusals').select('code').orderBy('code').execute();
    expect(codes.map(({ code }) => code)).toEqual([
      'DEVICE_UNKNOWN',
      'ENVELOPE_MALFORMED',
      'SIGNATURE_BELOW_THRESHOLD',
    ]);
  });

  it('when the database cannot store it, it rejects, so that the broker does not acknowledge', async () => {
    const signed = device.signed(drift(8));
    const closed = createIngest({
      db: world.db.withoutPlugins(),
      devices: { publicKeyOf: () => Promise.reject(new Error('no connection')) },
      now: () => 0,
    });
    await expect(closed.receive(reportsTopic(device.id), signed)).rejects.toThrow('no connection');
    expect(await ingest.receive(reportsTopic(device.id), signed)).toBe('stored');
  });

  it('when an old state report arrives late, it does not replace a newer one', async () => {
    const next = await world.publish('1.1.0');
    const old = await world.db.selectFrom('device_states').select('sequence').executeTakeFirstOrThrow();
    await device.preinstall(next);
    const late: Report = {
      protocol: 1,
      kind: 'state',
      deviceId: device.id,
      sequence: old.sequence - 1,
      at: world.clock.nowMs - 5000,
      body: { agentVersion: 'x', hardwareClass: 'cpu', attributes: {}, models: [] },
    };
    expect(await receive(late)).toBe('stored');
    const view = (await deviceViews(world.db)([device.id])).get(device.id);
    expect(view).toMatchObject({ models: [{ running: { release: { version: '1.1.0' } } }] });
  });

  it('when a device says that it is stale, that and why are shown until it says otherwise; an older agent says nothing', async () => {
    const shown = async () => (await deviceViews(world.db)([device.id])).get(device.id)?.['repository'];
    const metrics = async () => {
      const registry = new Registry();
      await telemetryMetrics(world.db)(registry)();
      return (await registry.getSingleMetricAsString('drover_devices_stale'))
        .split('\n')
        .filter((line) => /^drover/.test(line));
    };
    const state = (repository?: RepositoryStanding) =>
      device.report('state', {
        agentVersion: 'test',
        hardwareClass: 'cpu-small',
        attributes: {},
        models: [],
        ...(repository ? { repository } : {}),
      });
    await state();
    expect([await shown(), await metrics()]).toEqual([undefined, []]);
    const why = { code: 'TUF_EXPIRED', what: 'timestamp.json expired.', remedy: 'Wait.' };
    const lastFailure = { code: 'TUF_ROLLBACK', what: 'snapshot.json went back.', remedy: 'Publish again.' };
    await state({ rootVersion: 3, freshUntil: 1, stale: why, lastFailure });
    expect(await shown()).toEqual({ rootVersion: 3, freshUntil: 1, stale: why, lastFailure });
    expect(await metrics()).toEqual(['drover_devices_stale{code="TUF_EXPIRED"} 1']);
    await state({ rootVersion: 3, freshUntil: 2 });
    expect([await shown(), await metrics()]).toEqual([{ rootVersion: 3, freshUntil: 2 }, []]);
  });

  it('when publishers withdraw what a device runs, the device is shown with it', async () => {
    const listing = async () => {
      const view = (await deviceViews(world.db)([device.id])).get(device.id);
      return (view?.['models'] as { listing?: string }[]).map((model) => model.listing);
    };
    expect(await listing()).toEqual(['listed']);
    await withdrawRelease(world.db, { model: MODEL, version: release.version, by: 'dave', at: 1 });
    expect(await listing()).toEqual(['withdrawn']);
    const registry = new Registry();
    await telemetryMetrics(world.db)(registry)();
    expect(await registry.metrics()).toContain(`drover_devices_running_withdrawn{model="${MODEL}",version="1.0.0"} 1`);
    await world.db.deleteFrom('releases').execute();
    expect(await listing()).toEqual(['unknown']);
  });

  it('when several devices are shown, each has what it said itself, by as many queries as for one', async () => {
    const other = await world.device('other', 'hall');
    await other.preinstall(release);
    const incident = (what: string) => ({ error: { code: 'TEST', what, remedy: 'none' } });
    for (const what of ['one', 'two', 'three', 'four']) await device.report('incident', incident(what));
    await other.report('incident', incident('of the other'));
    const queries = kindsOfQueries(world.db);

    const alone = await deviceViews(queries.db)([device.id]);
    const forOne = queries.kinds.splice(0);
    const both = await deviceViews(queries.db)([device.id, other.id]);

    expect(queries.kinds).toEqual(forOne);
    expect(both.get(device.id)).toEqual(alone.get(device.id));
    const said = (id: DeviceId) =>
      (both.get(id)?.['incidents'] as { error: { what: string } }[]).map(({ error }) => error.what);
    expect(said(device.id)).toEqual(['four', 'three', 'two']);
    expect(said(other.id)).toEqual(['of the other']);
    expect(both.get(other.id)).toMatchObject({ models: [{ model: MODEL, listing: 'listed' }], refusals: [] });
    expect(await deviceViews(queries.db)([])).toEqual(new Map());
  });

  it('when devices report counts, accuracy in the field is right / labelled, by release and time', async () => {
    await device.serve(50, 40);
    world.clock.nowMs += 1000;
    await device.serve(50, 30);
    const [all] = await fieldAccuracy(world.db, { model: MODEL });
    expect(all).toEqual({ release, devices: 1, requests: 100, failures: 0, labelled: 100, correct: 70, accuracy: 0.7 });
    const [lately] = await fieldAccuracy(world.db, { model: MODEL, since: world.clock.nowMs });
    expect(lately).toMatchObject({ labelled: 50, accuracy: 0.6 });
    expect(await fieldAccuracy(world.db, { model: MODEL, until: 0 })).toEqual([]);
    const metrics = async () => {
      const registry = new Registry();
      await fieldMetrics(world.db, () => world.clock.nowMs)(registry)();
      return registry.metrics();
    };
    const of = `{model="${MODEL}",version="1.0.0"}`;
    expect(await metrics()).toContain(`drover_field_requests${of} 100\n`);
    expect(await metrics()).toContain(`drover_field_accuracy${of} 0.7\n`);
    expect(await metrics()).not.toContain(`drover_field_error_mean${of}`);
    world.clock.nowMs += 60 * 60_000;
    expect(await metrics()).toContain(`drover_field_requests${of} 50\n`);
  });

  it('when devices report errors of values, those of a release in the field are the means over all rows', async () => {
    const report = (count: number, mean: number, meanSquare: number) =>
      device.report('telemetry', {
        windowMs: 1,
        models: [
          {
            model: MODEL,
            release,
            requests: count,
            failures: 0,
            inferences: count,
            labelled: { count: 0, correct: 0 },
            errors: { count, mean, meanAbsolute: Math.abs(mean), meanSquare },
          },
        ],
      });
    await report(1, -2, 4);
    await report(3, 2, 8);
    const errors = { count: 4, mean: 1, meanAbsolute: 2, rootMeanSquare: Math.sqrt(7) };
    expect(await fieldAccuracy(world.db, { model: MODEL })).toMatchObject([
      { labelled: 0, accuracy: undefined, errors },
    ]);
    const registry = new Registry();
    await fieldMetrics(world.db, () => world.clock.nowMs)(registry)();
    const text = await registry.metrics();
    expect(text).toContain(`drover_field_labelled{model="${MODEL}",version="1.0.0"} 4\n`);
    expect(text).toContain(`drover_field_error_mean{model="${MODEL}",version="1.0.0"} 1\n`);
    expect(text).toContain(`drover_field_error_mean_absolute{model="${MODEL}",version="1.0.0"} 2\n`);
    // What no device can mean does not spoil the sums of the others.
    await report(Number.MAX_SAFE_INTEGER, 1e300, 1e300);
    const [spoilt] = await fieldAccuracy(world.db, { model: MODEL });
    expect(Number.isFinite(spoilt?.errors?.rootMeanSquare)).toBe(true);
  });

  it('when there are more rows than retention allows, the oldest go, and their repetition is still recognized', async () => {
    for (let sequence = 100; sequence < 110; sequence++) await receive(drift(sequence));
    const limits = { ...REPORT_LIMITS, drift: { maxRows: 3, maxAgeMs: 1e9 } };
    expect(await pruneReports(world.db, world.clock.nowMs, limits)).toBe(7);
    expect(await stored()).toEqual([107, 108, 109]);
    expect(await receive(drift(103))).toBe('repeated');
    expect(await receive(drift(110))).toBe('stored');
    await pruneReports(world.db, world.clock.nowMs + 1e9 + 1, limits);
    expect(await stored()).toEqual([]);
  });
});
