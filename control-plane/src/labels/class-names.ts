import type { ModelName, Version } from '@drover/shared/ids';
import type { Db } from '../database/index.js';
import { releases } from '../registry/index.js';

/** Names of the classes of a release by their index; undefined where it is not known here, or has none. */
export type ClassNames = (model: ModelName, version: Version) => Promise<readonly string[] | undefined>;

/** Reads each release once. */
export function classNames(db: Db): ClassNames {
  const known = new Map<string, Promise<readonly string[] | undefined>>();
  const read = async (model: ModelName, version: Version): Promise<readonly string[] | undefined> => {
    const manifest = (await releases(db).find(model, version))?.manifest;
    return manifest && 'task' in manifest ? manifest.task.labels : undefined;
  };
  return (model, version) => {
    const key = `${model}@${version}`;
    const names = known.get(key) ?? read(model, version);
    known.set(key, names);
    return names;
  };
}
