import { digestHex, type ModelName } from '@drover/shared/ids';
import { createKeyPair, type KeyPair } from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  renew,
  toExpires,
  withRelease,
  type Holders,
} from '@drover/shared/trust/ceremony';
import {
  signMetadata,
  tufSigner,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@drover/shared/trust/tuf';
import type { ReleaseRef } from './releases.js';

/** The release repository of a trial: what publishers sign and what a control plane signs by itself, in one hand. */
export interface Repository {
  readonly pinnedRoot: string;
  /** What is served, by file name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  list(release: ReleaseRef, manifestBytes: number): void;
}

const YEAR_MS = 365 * 86_400_000;
/** A long campaign makes thousands, and a device is sent back by one or two. */
const KEPT_RELEASES = 100;

export function createRepository(model: ModelName): Repository {
  const [owner, author, online] = [createKeyPair('owner'), createKeyPair('author'), createKeyPair('online')];
  const heldBy = (key: KeyPair): Holders => ({ keys: [key], threshold: 1 });
  const expiresAtMs = Date.now() + YEAR_MS;
  const files = new Map<string, Uint8Array>();
  const signed = (document: Root | Targets | Snapshot | Timestamp, key: KeyPair) =>
    signMetadata(document, [tufSigner(key)]);

  const root = firstRoot({ root: heldBy(owner), targets: heldBy(owner), online: heldBy(online), expiresAtMs });
  const targets = { ...delegate(firstTargets(expiresAtMs), model, heldBy(author), expiresAtMs), version: 1 };
  files.set('1.root.json', signed(root, owner));
  files.set('1.targets.json', signed(targets, owner));
  let role: Targets | undefined;
  let version = 0;

  function serve(): void {
    version += 1;
    const common = { spec_version: '1.0.34', version, expires: toExpires(expiresAtMs) };
    const meta = { 'targets.json': { version: 1 }, ...(role ? { [`${model}.json`]: { version: role.version } } : {}) };
    if (role) files.set(`${role.version}.${model}.json`, signed(role, author));
    files.set(`${version}.snapshot.json`, signed({ _type: 'snapshot', ...common, meta }, online));
    files.set(
      'timestamp.json',
      signed({ _type: 'timestamp', ...common, meta: { 'snapshot.json': { version } } }, online),
    );
  }

  serve();
  return {
    pinnedRoot: Buffer.from(files.get('1.root.json') ?? []).toString('utf8'),
    files,
    list({ version: listed, digest }, manifestBytes) {
      const next = role ? renew(role, expiresAtMs) : firstModelRole(expiresAtMs);
      const full = withRelease(next, { model, version: listed, manifestBytes, sha256: digestHex(digest) });
      role = { ...full, targets: Object.fromEntries(Object.entries(full.targets).slice(-KEPT_RELEASES)) };
      serve();
    },
  };
}
