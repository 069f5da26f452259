import { digestHex, type ModelName } from '@drover/shared/ids';
import { signRecoveryStatement, type RecoveryStatement } from '@drover/shared/protocol';
import { bulkSigner, createKeyPair, type KeyPair } from '@drover/shared/trust';
import {
  delegate,
  firstModelRole,
  firstRoot,
  firstTargets,
  nextRoot,
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
  list(model: ModelName, release: ReleaseRef, manifestBytes: number): void;
  /** The owners replace the key that signs timestamp and snapshot: devices forget those two (TUF 1.0, section 5.3.11). */
  replaceOnlineKey(): void;
  signRecovery(statement: RecoveryStatement): Buffer;
}

const YEAR_MS = 365 * 86_400_000;
/** A long campaign makes thousands, and a device is sent back by one or two. */
const KEPT_RELEASES = 100;

export function createRepository(models: readonly ModelName[]): Repository {
  const [owner, author] = [createKeyPair('owner'), createKeyPair('author')];
  let online = createKeyPair('online');
  const heldBy = (key: KeyPair): Holders => ({ keys: [key], threshold: 1 });
  const expiresAtMs = Date.now() + YEAR_MS;
  const files = new Map<string, Uint8Array>();
  const signed = (document: Root | Targets | Snapshot | Timestamp, key: KeyPair) =>
    signMetadata(document, [tufSigner(key)]);

  let root = firstRoot({ root: heldBy(owner), targets: heldBy(owner), online: heldBy(online), expiresAtMs });
  const delegating = models.reduce(
    (targets, model) => delegate(targets, model, heldBy(author), expiresAtMs),
    firstTargets(expiresAtMs),
  );
  files.set('1.root.json', signed(root, owner));
  files.set('1.targets.json', signed({ ...delegating, version: 1 }, owner));
  const roles = new Map<ModelName, Targets>();
  let version = 0;

  function serve(): void {
    version += 1;
    const common = { spec_version: '1.0.34', version, expires: toExpires(expiresAtMs) };
    const listed = [...roles].map(([model, role]) => [`${model}.json`, { version: role.version }] as const);
    const meta = { 'targets.json': { version: 1 }, ...Object.fromEntries(listed) };
    for (const [model, role] of roles) files.set(`${role.version}.${model}.json`, signed(role, author));
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
    list(model, { version: listed, digest }, manifestBytes) {
      const role = roles.get(model);
      const next = role ? renew(role, expiresAtMs) : firstModelRole(expiresAtMs);
      const full = withRelease(next, { model, version: listed, manifestBytes, sha256: digestHex(digest) });
      const kept = Object.entries(full.targets).slice(-KEPT_RELEASES);
      roles.set(model, { ...full, targets: Object.fromEntries(kept) });
      serve();
    },
    replaceOnlineKey() {
      online = createKeyPair('online');
      root = nextRoot(root, { online: heldBy(online) }, expiresAtMs);
      files.set(`${root.version}.root.json`, signed(root, owner));
      serve();
    },
    signRecovery: (statement) => signRecoveryStatement(statement, [bulkSigner(owner)]),
  };
}
