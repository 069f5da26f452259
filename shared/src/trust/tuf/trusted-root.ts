import type { MetadataFile, Root } from './documents.js';
import { TufError } from './errors.js';
import { passedRootName, rootFileName } from './names.js';
import { parseMetadata } from './parse.js';
import type { MetadataCache } from './ports.js';
import { verifyThreshold } from './signatures.js';

type RootFile = MetadataFile<'root'>;

const verifySigned = (file: RootFile, { keys, roles, version }: Root, where: string) =>
  verifyThreshold({ file, role: roles.root, keys, where, delegator: `root version ${version}`, section: '5.3.4' });

/** Section 5.2. @throws TufError TUF_ANCHOR_INVALID */
export function readPinnedRoot(bytes: Uint8Array, maxBytes: number): RootFile {
  try {
    const file = parseMetadata('root', bytes, { where: 'the pinned root', maxBytes });
    verifySigned(file, file.signed, 'the pinned root');
    return file;
  } catch (cause) {
    throw new TufError('TUF_ANCHOR_INVALID', 'The pinned root cannot be used.', {
      section: '5.2',
      where: 'the pinned root',
      cause,
    });
  }
}

/**
 * Sections 5.3.4 and 5.3.5: signed by the thresholds of the trusted root *and* of the new one, and exactly one version higher.
 *
 * @throws TufError TUF_SIGNATURES_BELOW_THRESHOLD, TUF_ROLLBACK, TUF_MALFORMED, TUF_TOO_LARGE
 */
export function verifyNextRoot(bytes: Uint8Array, trusted: Root, maxBytes: number): RootFile {
  const wanted = trusted.version + 1;
  const where = rootFileName(wanted);
  const file = parseMetadata('root', bytes, { where, maxBytes });
  verifySigned(file, trusted, where);
  verifySigned(file, file.signed, where);
  if (file.signed.version !== wanted) {
    throw new TufError('TUF_ROLLBACK', `${where} has version ${file.signed.version} instead of ${wanted}.`, {
      section: '5.3.5',
      where,
    });
  }
  return file;
}

/**
 * Whether timestamp or snapshot lost a key on the way (5.3.11; docs/protocol.md, section 12, step 8). A key that was only added, or another threshold, needs no recovery, and to forget
 * versions for it would open the door for a rollback.
 */
export const hasRotatedOnlineKeys = (before: Root, after: Root): boolean =>
  (['timestamp', 'snapshot'] as const).some((role) =>
    before.roles[role].keyids.some((keyId) => !after.roles[role].keyids.includes(keyId)),
  );

export interface CachedRoots {
  readonly root: RootFile;
  /** A rotation was persisted, and then the power went before its consequence (5.3.11) was. */
  readonly rotationUnfinished: boolean;
  readonly errors: readonly unknown[];
}

/**
 * Follows the chain of cached roots from the pinned one, verifying each link anew (docs/protocol.md, section 12, steps 1 and 11). Roots of another repository, or damaged ones, end the chain, so that
 * whoever pins another root is never held by the old one. `root.json` is the newest root whose consequences were all persisted.
 */
export function readCachedRoots(pinned: RootFile, cache: MetadataCache, maxBytes: number): CachedRoots {
  const errors: unknown[] = [];
  const attempt = <Value>(read: () => Value): Value | undefined => {
    try {
      return read();
    } catch (error) {
      errors.push(error);
      return undefined;
    }
  };
  let root = pinned;
  for (;;) {
    const trusted = root.signed;
    const bytes = cache.read(passedRootName(trusted.version + 1));
    const next = bytes && attempt(() => verifyNextRoot(bytes, trusted, maxBytes));
    if (next === undefined) break;
    root = next;
  }
  const settledBytes = cache.read('root.json');
  const settled = settledBytes && attempt(() => parseMetadata('root', settledBytes, { where: 'root.json', maxBytes }));
  const rotationUnfinished =
    settled !== undefined &&
    settled.signed.version < root.signed.version &&
    hasRotatedOnlineKeys(settled.signed, root.signed);
  return { root, rotationUnfinished, errors };
}
