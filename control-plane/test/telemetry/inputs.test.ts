import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelName } from '@drover/shared/ids';
import type { InputHour } from '@drover/shared/protocol';
import { inputsOf, pruneReports, telemetryMetrics } from '../../src/telemetry/index.js';
import { createWorld, MODEL, type Release, type ScriptedDevice, type World } from '../rollouts/world.js';

const DAY_MS = 86_400_000;
const broken: InputHour['violations'][number] = {
  rule: 1,
  input: 'x',
  feature: 'heat',
  says: 'at most 85',
  rows: 3,
  windows: 0,
  windowsBelow: 0,
};
const judged = {
  ...broken,
  rule: 2,
  says: 'at most 40 in at least 90 % of rows',
  rows: 9,
  windows: 4,
  windowsBelow: 2,
};

describe('inputs that devices held against a contract', () => {
  let world: World;
  let release: Release;
  let alpha: ScriptedDevice;
  let beta: ScriptedDevice;

  beforeEach(async () => {
    world = await createWorld();
    release = await world.publish('1.0.0');
    alpha = await world.device('alpha');
    beta = await world.device('beta');
    for (const device of [alpha, beta]) await device.preinstall(release);
  });
  afterEach(() => world.close());

  const hour = (facts: Partial<InputHour>): InputHour => ({
    model: MODEL,
    release,
    hour: 7,
    rows: 100,
    refusedRequests: 1,
    violations: [],
    ...facts,
  });
  const tell = (device: ScriptedDevice, ...inputs: InputHour[]) =>
    device.report('telemetry', { windowMs: 1, models: [], inputs });

  it('when they report, are added up over devices and hours, by release and rule', async () => {
    await tell(alpha, hour({ violations: [broken] }), hour({ hour: 8, violations: [{ ...judged, isBelow: true }] }));
    await tell(beta, hour({ rows: 50, refusedRequests: 0, violations: [broken, { ...judged, isBelow: false }] }));
    expect(await inputsOf(world.db, { model: MODEL })).toEqual([
      {
        release,
        devices: 2,
        rows: 250,
        refusedRequests: 2,
        rules: [
          { ...judged, rows: 18, windows: 8, windowsBelow: 4, devices: 2, devicesBelow: 1 },
          { ...broken, rows: 6, devices: 2, devicesBelow: 0 },
        ],
      },
    ]);
    expect(await inputsOf(world.db, { model: ModelName('other') })).toEqual([]);
    expect(await inputsOf(world.db, { model: MODEL, since: world.clock.nowMs + 1 })).toEqual([]);
  });

  it('when an hour is reported again, the report with more rows counts, whichever comes last', async () => {
    const later = hour({ rows: 200, refusedRequests: 4, violations: [{ ...broken, rows: 8 }] });
    await tell(alpha, hour({ violations: [broken] }));
    await tell(alpha, later);
    await tell(alpha, hour({ rows: 150, violations: [broken] }));
    expect(await inputsOf(world.db, { model: MODEL })).toMatchObject([
      { devices: 1, rows: 200, refusedRequests: 4, rules: [{ rows: 8 }] },
    ]);
  });

  it('when the newest window of a device holds, or it runs another release, it is below no more; metrics say so', async () => {
    const metrics = async () => {
      const registry = new Registry();
      await telemetryMetrics(world.db)(registry)();
      const text = await registry.metrics();
      return text.split('\n').filter((line) => /^drover_(input|devices_inputs)/.test(line));
    };
    await tell(alpha, hour({ violations: [{ ...judged, isBelow: true }] }));
    await tell(beta, hour({ violations: [{ ...judged, isBelow: true }] }));
    expect(await metrics()).toEqual([
      `drover_input_rows{model="${MODEL}",version="1.0.0"} 200`,
      `drover_input_requests_refused{model="${MODEL}",version="1.0.0"} 2`,
      `drover_devices_inputs_below{model="${MODEL}"} 2`,
    ]);
    await tell(alpha, hour({ hour: 8, violations: [{ ...judged, isBelow: false }] }));
    await tell(alpha, hour({ hour: 9, violations: [broken] }));
    expect((await metrics()).at(-1)).toBe(`drover_devices_inputs_below{model="${MODEL}"} 1`);
    await beta.preinstall(await world.publish('1.1.0'));
    expect((await metrics()).at(-1)).toContain('drover_input_requests_refused');
  });

  it('when they are older than retention, are forgotten', async () => {
    await tell(alpha, hour({ violations: [broken] }));
    await pruneReports(world.db, world.clock.nowMs + 29 * DAY_MS);
    expect(await inputsOf(world.db, { model: MODEL })).toHaveLength(1);
    await pruneReports(world.db, world.clock.nowMs + 31 * DAY_MS);
    expect(await inputsOf(world.db, { model: MODEL })).toEqual([]);
    expect(await world.db.selectFrom('input_violations').selectAll().execute()).toEqual([]);
  });
});
