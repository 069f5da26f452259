import {
  entryOf,
  type MetadataFile,
  type MetadataKind,
  type MetaFile,
  type RoleKeys,
  type Root,
  type Snapshot,
  type TufKey,
} from './documents.js';
import { TufError } from './errors.js';
import { expiresAtMs, parseMetadata } from './parse.js';
import { verifyThreshold } from './signatures.js';
import { differenceFrom } from './target-file.js';

interface ExpiryCheck {
  readonly nowMs: number;
  readonly where: string;
  readonly section: string;
}

/** Why a file may not be used as fresh any more. */
export function expiryError(
  signed: { readonly expires: string },
  { nowMs, where, section }: ExpiryCheck,
): TufError | undefined {
  if (expiresAtMs(signed) > nowMs) return undefined;
  const at = new Date(nowMs);
  const now = Number.isNaN(at.getTime()) ? 'no valid time on this clock' : at.toISOString();
  return new TufError('TUF_EXPIRED', `${where} expired on ${signed.expires}; it is ${now}.`, { section, where });
}

/** "Check for a freeze attack" (5.3.10, 5.4.4, 5.5.6, 5.6.5). @throws TufError TUF_EXPIRED */
export function verifyNotExpired(signed: { readonly expires: string }, check: ExpiryCheck): void {
  const expired = expiryError(signed, check);
  if (expired) throw expired;
}

/** Signed by the role that the trusted root names (5.4.2, 5.5.3, 5.6.3). */
export function verifyByRoot(file: MetadataFile, root: Root, o: { readonly where: string; readonly section: string }) {
  const role = root.roles[file.signed._type];
  verifyThreshold({ file, role, keys: root.keys, delegator: `root version ${root.version}`, ...o });
}

export interface ListedCheck<Kind extends MetadataKind> {
  readonly kind: Kind;
  readonly bytes: Uint8Array;
  /** What the trusted file one step up says about this one. */
  readonly meta: MetaFile;
  readonly listedIn: string;
  readonly role: RoleKeys;
  readonly keys: Readonly<Record<string, TufKey>>;
  readonly delegator: string;
  readonly where: string;
  readonly maxBytes: number;
  readonly sections: { readonly hash: string; readonly signature: string; readonly version: string };
}

/**
 * What snapshot (5.5.2–5.5.4), targets and delegated targets (5.6.2–5.6.4) have in common: hash, signatures, version, in this order.
 *
 * @throws TufError TUF_MIX_AND_MATCH, TUF_TOO_LARGE, TUF_MALFORMED, TUF_SIGNATURES_BELOW_THRESHOLD
 */
export function verifyListed<Kind extends MetadataKind>(check: ListedCheck<Kind>): MetadataFile<Kind> {
  const { kind, bytes, meta, listedIn, where, maxBytes, sections } = check;
  const mismatch = (why: string, section: string) =>
    new TufError('TUF_MIX_AND_MATCH', `${where} is not what ${listedIn} lists: ${why}.`, { section, where });

  const difference = differenceFrom(meta, bytes);
  if (difference !== undefined) throw mismatch(difference, sections.hash);
  const file = parseMetadata(kind, bytes, { where, maxBytes });
  verifyThreshold({ ...check, file, section: sections.signature });
  if (file.signed.version !== meta.version)
    throw mismatch(`it has version ${file.signed.version} instead of ${meta.version}`, sections.version);
  return file;
}

/**
 * "Check for a rollback attack" on snapshot (5.5.5): no role that the trusted snapshot lists may disappear or go back.
 *
 * @throws TufError TUF_ROLLBACK
 */
export function verifySnapshotGoesForward(trusted: Snapshot, next: Snapshot, where: string): void {
  const rollback = (what: string) => new TufError('TUF_ROLLBACK', what, { section: '5.5.5', where });
  if (next.version < trusted.version)
    throw rollback(`${where} has version ${next.version}; version ${trusted.version} was seen before.`);
  for (const [name, { version }] of Object.entries(trusted.meta)) {
    const listed = entryOf(next.meta, name);
    if (listed === undefined) throw rollback(`${where} no longer lists ${name}, which the trusted snapshot does.`);
    if (listed.version < version)
      throw rollback(`${where} lists version ${listed.version} of ${name}; version ${version} was seen before.`);
  }
}
