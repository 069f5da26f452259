import type { ModelName, Version } from '@drover/shared/ids';
import {
  isOfKind,
  parametersOf,
  siteValues,
  type ParametersManifest,
  type ParameterChange,
  type ParameterValues,
} from '@drover/shared/manifest';
import type { Db } from '../database/index.js';
import { RegistryError } from './errors.js';
import { releaseBelow } from './release-below.js';
import { releases, type Release } from './releases.js';

/** What a release of parameters means for each site, beside the release before it. */
export interface ParametersView {
  readonly model: ModelName;
  readonly version: Version;
  readonly digest: Release['digest'];
  readonly compatible: string;
  readonly publishedAt: number;
  readonly publishedBy: string;
  readonly withdrawnAt?: number;
  /** The release that `changes` are against; absent where there is none before. */
  readonly against?: Version;
  readonly parameters: ParametersManifest['parameters'];
  readonly sites: {
    /** Absent for devices of sites that are not named, and of none. */
    readonly site?: string;
    /** Enrolled there and not revoked. */
    readonly devices: number;
    readonly values: ParameterValues;
    readonly changes: ParameterChange[];
  }[];
}

type ParametersRelease = Release & { readonly manifest: ParametersManifest };

/** Oldest version first. @throws RegistryError MODEL_UNKNOWN */
export async function parametersReleases(db: Db, model: ModelName): Promise<ParametersRelease[]> {
  const found = await releases(db).of(parametersOf(model));
  return found.filter((release): release is ParametersRelease => isOfKind('parameters', release.manifest));
}

/** @param against the version to compare with; the release before it when absent. @throws RegistryError MODEL_UNKNOWN, RELEASE_UNKNOWN */
export async function parametersView(
  db: Db,
  { model, version, against }: { readonly model: ModelName; readonly version: Version; readonly against?: Version },
): Promise<ParametersView> {
  const all = await parametersReleases(db, model);
  const release = all.find((each) => each.version === version);
  if (!release) throw unknownVersion(model, version);
  const before = against === undefined ? releaseBelow(all, version) : all.find((each) => each.version === against);
  if (against !== undefined && !before) throw unknownVersion(model, against);
  const devices = await devicesBySite(db);
  const { compatible, parameters } = release.manifest;
  const sites = siteValues(release.manifest, before?.manifest);
  const named = sites.reduce((sum, { site }) => sum + (site === undefined ? 0 : (devices.get(site) ?? 0)), 0);
  const total = [...devices.values()].reduce((sum, count) => sum + count, 0);
  return {
    model,
    version,
    digest: release.digest,
    compatible,
    publishedAt: release.publishedAt,
    publishedBy: release.publishedBy,
    ...(release.withdrawnAt === undefined ? {} : { withdrawnAt: release.withdrawnAt }),
    ...(before ? { against: before.version } : {}),
    parameters,
    sites: sites.map((each) => ({
      ...each,
      devices: each.site === undefined ? total - named : (devices.get(each.site) ?? 0),
    })),
  };
}

/** Devices without a site count under an empty name. */
async function devicesBySite(db: Db): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom('devices')
    .leftJoin('device_attributes as label', (join) =>
      join.onRef('label.device_id', '=', 'devices.id').on('label.name', '=', 'site'),
    )
    .select(({ fn }) => ['label.value as site', fn.countAll<number | string>().as('devices')])
    .where('devices.revoked_at', 'is', null)
    .groupBy('label.value')
    .execute();
  return new Map(rows.map(({ site, devices }) => [site ?? '', Number(devices)]));
}

const unknownVersion = (model: ModelName, version: Version) =>
  new RegistryError('RELEASE_UNKNOWN', `There are no parameters ${version} of ${model}.`, {
    remedy: `Look for the version in \`drover parameters show ${model}\`, or publish them.`,
  });
