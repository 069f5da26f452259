/** Most file systems end at 255 bytes; a version stands before the name. */
const MAX_NAME_BYTES = 220;

/** Spec 4.1 leaves role names open; percent-encoding makes each one segment of a URL and of a path. Undefined where that cannot be. */
export function metadataFileName(role: string): string | undefined {
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(role)) return undefined;
  const name = `${encodeURIComponent(role)}.json`;
  return name.length <= MAX_NAME_BYTES ? name : undefined;
}

/** As timestamp and snapshot list it: the plain name, whatever is in it (section 4.4). */
export const listedName = (role: string): string => `${role}.json`;

/** As the repository serves it: with its version in front where snapshots are consistent (section 6.2). */
export function servedFileName(role: string, version: number, consistentSnapshot: boolean): string {
  const name = metadataFileName(role) ?? '';
  return consistentSnapshot ? `${version}.${name}` : name;
}

export const rootFileName = (version: number): string => `${version}.root.json`;
/** Each root that was passed on the way from the pinned one, so that the chain can be verified anew at every start. */
export const passedRootName = (version: number): string => `root.${version}`;
