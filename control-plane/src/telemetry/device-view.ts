import type { DeviceId, Digest } from '@drover/shared/ids';
import type { ReportKind, RepositoryStanding } from '@drover/shared/protocol';
import type { Db } from '../database/index.js';
import { desiredReleases } from '../director/director.js';
import { newestReports } from './field.js';
import { reportedModels, type ReportedModel } from './reported.js';

/** Per device and kind: the newest ones. All of them are under GET /reports. */
const SHOWN_REPORTS = 3;

/** What devices said, signed, beside what is desired of them: the further keys of a device document. As many queries for a thousand devices as for one. */
export const deviceViews =
  (db: Db) =>
  async (devices: readonly DeviceId[]): Promise<Map<DeviceId, Readonly<Record<string, unknown>>>> => {
    if (devices.length === 0) return new Map();
    const reported = await reportedModels(db, { devices });
    const listingOf = await listings(db, reported);
    const models = byDevice(reported, ({ deviceId: _device, ...model }) => ({
      ...model,
      ...(model.running && { listing: listingOf(model.running.release.digest) }),
    }));
    const repositories = await repositoryStandings(db, devices);
    const desired = await desiredReleases(db, devices);
    const shown = async (kind: ReportKind) =>
      byDevice(await newestReports(db, { kind, devices, each: SHOWN_REPORTS }), ({ at, body }) => ({
        at,
        ...(body as object),
      }));
    const refusals = await shown('refusal');
    const incidents = await shown('incident');
    const drift = await shown('drift');
    const adaptations = await shown('adaptation');
    return new Map(
      devices.map((device) => {
        const repository = repositories.get(device);
        return [
          device,
          {
            ...(repository ? { repository } : {}),
            models: models.get(device) ?? [],
            desired: desired.get(device) ?? [],
            refusals: refusals.get(device) ?? [],
            incidents: incidents.get(device) ?? [],
            drift: drift.get(device) ?? [],
            adaptations: adaptations.get(device) ?? [],
          },
        ];
      }),
    );
  };

function byDevice<Row extends { readonly deviceId: DeviceId }, Shown>(
  rows: readonly Row[],
  show: (row: Row) => Shown,
): Map<DeviceId, Shown[]> {
  const groups = new Map<DeviceId, Shown[]>();
  for (const row of rows) {
    const own = groups.get(row.deviceId) ?? [];
    groups.set(row.deviceId, own);
    own.push(show(row));
  }
  return groups;
}

/** Whether publishers (still) stand by what a device runs. `unknown`: published in a time that a restored control plane has lost, or never here. */
type Listing = 'listed' | 'withdrawn' | 'unknown';

async function listings(db: Db, reported: readonly ReportedModel[]): Promise<(digest: Digest) => Listing> {
  const running = new Set(reported.flatMap((model) => (model.running ? [model.running.release.digest] : [])));
  // SQL knows no empty list.
  if (running.size === 0) return () => 'unknown';
  const rows = await db
    .selectFrom('releases')
    .select(['digest', 'withdrawn_at'])
    .where('digest', 'in', [...running])
    .execute();
  const known = new Map(rows.map((row) => [row.digest, row.withdrawn_at === null ? 'listed' : 'withdrawn'] as const));
  return (digest) => known.get(digest) ?? 'unknown';
}

async function repositoryStandings(
  db: Db,
  devices: readonly DeviceId[],
): Promise<ReadonlyMap<DeviceId, RepositoryStanding>> {
  const rows = await db
    .selectFrom('device_states')
    .select(['device_id', 'repository'])
    .where('device_id', 'in', devices)
    .execute();
  return new Map(
    rows.flatMap(({ device_id: device, repository }) =>
      repository === null ? [] : [[device, JSON.parse(repository) as RepositoryStanding] as const],
    ),
  );
}
