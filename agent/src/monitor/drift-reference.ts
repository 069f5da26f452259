import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseProfile, type Profile } from '@drover/shared/profile';
import { parseDriftThresholds, type DriftThresholds } from '@drover/shared/statistics';
import type { InstalledModel } from '../update/ports.js';
import { MonitorError } from './errors.js';

/** What the publisher signed about a release's data: the profile of its training data, and how far a window may be from it. */
export interface DriftReference {
  readonly profile: Profile;
  readonly thresholds: DriftThresholds;
}

/** Undefined for a release that ships none. @throws MonitorError DRIFT_REFERENCE_UNUSABLE */
export async function readDriftReference({
  model,
  release,
  manifest,
  directory,
}: InstalledModel): Promise<DriftReference | undefined> {
  if (!manifest.referenceProfile || manifest.drift === undefined) return undefined;
  const file = join(directory, manifest.referenceProfile.path);
  try {
    const profile = parseProfile(JSON.parse(await readFile(file, 'utf8')));
    const thresholds = parseDriftThresholds(manifest.drift);
    if (profile.features.length !== thresholds.features) {
      throw new Error(
        `the profile has ${profile.features.length} features, the thresholds are for ${thresholds.features}`,
      );
    }
    return { profile, thresholds };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MonitorError(
      'DRIFT_REFERENCE_UNUSABLE',
      `Drift of ${model} ${release.version} cannot be watched: ${why}.`,
      {
        remedy: 'Publish a release with a profile and thresholds that `drover model publish` made.',
        where: file,
        cause,
      },
    );
  }
}
