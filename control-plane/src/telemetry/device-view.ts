import type { DeviceId } from '@drover/shared/ids';
import type { ReportKind } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { desiredReleases } from '../director/director.js';
import { listReports } from './field.js';
import { reportedModels } from './reported.js';

/** Per device and kind: the newest ones. All of them are under GET /reports. */
const SHOWN_REPORTS = 3;
const SHOWN_KINDS = ['refusal', 'incident', 'drift', 'adaptation'] as const satisfies readonly ReportKind[];

/** What devices said, signed, beside what is desired of them: the further keys of a device document. */
export const deviceViews =
  (db: Db) =>
  async (ids: readonly DeviceId[]): Promise<Map<DeviceId, Readonly<Record<string, unknown>>>> => {
    const views = new Map<DeviceId, Readonly<Record<string, unknown>>>();
    for (const device of ids) {
      const models = (await reportedModels(db, { device })).map(({ deviceId: _device, ...model }) => model);
      const recent = await Promise.all(
        SHOWN_KINDS.map((kind) => listReports(db, { kind, device, limit: SHOWN_REPORTS, newestFirst: true })),
      );
      const [refusals, incidents, drift, adaptations] = recent.map((reports) =>
        reports.map(({ at, body }) => ({ at, ...(body as object) })),
      );
      views.set(device, {
        models,
        desired: await desiredReleases(db, device),
        refusals,
        incidents,
        drift,
        adaptations,
      });
    }
    return views;
  };
