import type { DeviceId, ModelName } from '@drover/shared/ids';
import type { ReportKind, RepositoryStanding } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { desiredReleases } from '../director/director.js';
import { listReports } from './field.js';
import { reportedModels, type ReportedModel } from './reported.js';

/** Per device and kind: the newest ones. All of them are under GET /reports. */
const SHOWN_REPORTS = 3;
const SHOWN_KINDS = ['refusal', 'incident', 'drift', 'adaptation'] as const satisfies readonly ReportKind[];

/** What devices said, signed, beside what is desired of them: the further keys of a device document. */
export const deviceViews =
  (db: Db) =>
  async (ids: readonly DeviceId[]): Promise<Map<DeviceId, Readonly<Record<string, unknown>>>> => {
    const views = new Map<DeviceId, Readonly<Record<string, unknown>>>();
    for (const device of ids) {
      const reported = await reportedModels(db, { device });
      const listings = await listingsOf(db, reported);
      const models = reported.map(({ deviceId: _device, ...model }) => ({ ...model, ...listings.get(model.model) }));
      const repository = await repositoryStanding(db, device);
      const recent = await Promise.all(
        SHOWN_KINDS.map((kind) => listReports(db, { kind, device, limit: SHOWN_REPORTS, newestFirst: true })),
      );
      const [refusals, incidents, drift, adaptations] = recent.map((reports) =>
        reports.map(({ at, body }) => ({ at, ...(body as object) })),
      );
      views.set(device, {
        ...(repository ? { repository } : {}),
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

/** Whether publishers (still) stand by what a device runs. `unknown`: published in a time that a restored control plane has lost, or never here. */
type Listing = 'listed' | 'withdrawn' | 'unknown';

async function listingsOf(
  db: Db,
  reported: readonly ReportedModel[],
): Promise<Map<ModelName, { readonly listing: Listing }>> {
  const listings = new Map<ModelName, { readonly listing: Listing }>();
  for (const { model, running } of reported) {
    if (!running) continue;
    const release = await db
      .selectFrom('releases')
      .select('withdrawn_at')
      .where('digest', '=', running.release.digest)
      .executeTakeFirst();
    listings.set(model, { listing: !release ? 'unknown' : release.withdrawn_at === null ? 'listed' : 'withdrawn' });
  }
  return listings;
}

async function repositoryStanding(db: Db, device: DeviceId): Promise<RepositoryStanding | undefined> {
  const row = await db
    .selectFrom('device_states')
    .select('repository')
    .where('device_id', '=', device)
    .executeTakeFirst();
  return typeof row?.repository === 'string' ? (JSON.parse(row.repository) as RepositoryStanding) : undefined;
}
