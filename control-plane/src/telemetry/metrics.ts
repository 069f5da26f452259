import { Gauge } from 'prom-client';
import type { Db } from '../database/index.js';
import type { MetricsSource } from '../http/index.js';
import { listReports } from './field.js';
import { devicesBelow } from './inputs.js';

/** Drift reports that are looked at for the present state; retention keeps at most as many. */
const MAX_DRIFT_REPORTS = 50_000;

/** What came in, what was refused, what the fleet says it runs, and where drift alarms stand. */
export const telemetryMetrics =
  (db: Db): MetricsSource =>
  (registry) => {
    const registers = [registry];
    const stored = new Gauge({
      name: 'drover_reports_stored',
      help: 'Reports of the devices that are stored.',
      labelNames: ['kind'] as const,
      registers,
    });
    const refused = new Gauge({
      name: 'drover_reports_refused',
      help: 'Reports that were refused since the beginning.',
      labelNames: ['code'] as const,
      registers,
    });
    const running = new Gauge({
      name: 'drover_devices_running',
      help: 'Devices by the release that they say, signed, they run.',
      labelNames: ['model', 'version'] as const,
      registers,
    });
    const drifting = new Gauge({
      name: 'drover_devices_drifting',
      help: 'Devices whose last word about drift of a model is an alarm.',
      labelNames: ['model'] as const,
      registers,
    });

    const stale = new Gauge({
      name: 'drover_devices_stale',
      help: 'Devices that say, signed, that what they know of the release repository has expired.',
      labelNames: ['code'] as const,
      registers,
    });
    const withdrawn = new Gauge({
      name: 'drover_devices_running_withdrawn',
      help: 'Devices that run a release which its publishers have withdrawn.',
      labelNames: ['model', 'version'] as const,
      registers,
    });

    const checked = new Gauge({
      name: 'drover_input_rows',
      help: 'Rows that were held against the contract of their release, in the hours that are kept.',
      labelNames: ['model', 'version'] as const,
      registers,
    });
    const refusedInputs = new Gauge({
      name: 'drover_input_requests_refused',
      help: 'Requests that were refused for the contract of their release, in the hours that are kept.',
      labelNames: ['model', 'version'] as const,
      registers,
    });
    const below = new Gauge({
      name: 'drover_devices_inputs_below',
      help: 'Devices in whose newest window too few rows hold some rule of the release that they run: of the rule with most of them.',
      labelNames: ['model'] as const,
      registers,
    });

    return async () => {
      const kinds = await db
        .selectFrom('reports')
        .select(({ fn }) => ['kind', fn.countAll<number | string>().as('count')])
        .groupBy('kind')
        .execute();
      stored.reset();
      for (const { kind, count } of kinds) stored.set({ kind }, Number(count));

      const codes = await db
        .selectFrom('report_refusals')
        .select(({ fn }) => ['code', fn.sum<number | string>('count').as('count')])
        .groupBy('code')
        .execute();
      refused.reset();
      for (const { code, count } of codes) refused.set({ code }, Number(count));

      const releases = await db
        .selectFrom('device_models')
        .select(({ fn }) => ['model', 'running_version', fn.countAll<number | string>().as('devices')])
        .groupBy(['model', 'running_version'])
        .execute();
      running.reset();
      for (const { model, running_version, devices } of releases) {
        running.set({ model, version: running_version ?? 'none' }, Number(devices));
      }

      const staleDevices = await db
        .selectFrom('device_states')
        .select(({ fn }) => ['stale_code', fn.countAll<number | string>().as('devices')])
        .where('stale_code', 'is not', null)
        .groupBy('stale_code')
        .execute();
      stale.reset();
      for (const { stale_code: code, devices } of staleDevices) stale.set({ code: code ?? '' }, Number(devices));

      const onWithdrawn = await db
        .selectFrom('device_models')
        .innerJoin('releases', 'releases.digest', 'device_models.running_digest')
        .where('releases.withdrawn_at', 'is not', null)
        .select(({ fn }) => ['releases.model', 'releases.version', fn.countAll<number | string>().as('devices')])
        .groupBy(['releases.model', 'releases.version'])
        .execute();
      withdrawn.reset();
      for (const { model, version, devices } of onWithdrawn) withdrawn.set({ model, version }, Number(devices));

      const inputs = await db
        .selectFrom('input_hours')
        .select(({ fn }) => [
          'model',
          'version',
          fn.sum<number | string>('rows').as('rows'),
          fn.sum<number | string>('refused_requests').as('refused'),
        ])
        .groupBy(['model', 'version'])
        .execute();
      checked.reset();
      refusedInputs.reset();
      for (const { model, version, rows, refused: requests } of inputs) {
        checked.set({ model, version }, Number(rows));
        refusedInputs.set({ model, version }, Number(requests));
      }
      const most = new Map<string, number>();
      for (const { model, devices } of await devicesBelow(db)) most.set(model, Math.max(most.get(model) ?? 0, devices));
      below.reset();
      for (const [model, devices] of most) below.set({ model }, devices);

      drifting.reset();
      for (const [model, devices] of await driftingDevices(db)) drifting.set({ model }, devices);
    };
  };

async function driftingDevices(db: Db): Promise<Map<string, number>> {
  const newest = new Map<string, { model: string; raised: boolean }>();
  for (const { deviceId, body } of await listReports(db, { kind: 'drift', limit: MAX_DRIFT_REPORTS })) {
    const { model, status } = body as { model: string; status: string };
    newest.set(`${deviceId}/${model}`, { model, raised: status === 'raised' });
  }
  const devices = new Map<string, number>();
  for (const { model, raised } of newest.values()) devices.set(model, (devices.get(model) ?? 0) + (raised ? 1 : 0));
  return devices;
}
