import type { KeySet } from '@drover/shared/trust';
import { expiresAtMs, toKeySet, type MetadataFile } from '@drover/shared/trust/tuf';
import type { Db } from '../database/index.js';
import { audit } from '../governance/index.js';
import type { StoredFiles } from '../registry/index.js';
import { repositoryMissing } from './errors.js';
import { metadataFiles } from './metadata-files.js';
import { signSnapshot, signTimestamp, SNAPSHOT_VALID_MS, TIMESTAMP_VALID_MS } from './online-roles.js';
import type { OnlineKeys } from './online-keys.js';
import { verifyPublication, type SentDocument } from './publication.js';
import { recordReleases } from './releases-listed.js';

export interface ReleaseRepositoryOptions {
  readonly db: Db;
  readonly files: StoredFiles;
  readonly keys: OnlineKeys;
  readonly now: () => number;
}

export interface PublishedRole {
  readonly role: string;
  readonly version: number;
}

/** The TUF repository of releases: takes in what publishers signed, and signs timestamp and snapshot by itself. */
export interface ReleaseRepository {
  readonly keys: OnlineKeys;
  /** Keys and threshold of the root role, for what is signed like a root. @throws RepositoryError REPOSITORY_MISSING */
  rootKeys(): Promise<KeySet>;
  /**
   * Publishes documents together or not at all: they, their releases, a new snapshot and timestamp and the audit entries are one transaction.
   *
   * @throws TufError, RepositoryError, RegistryError, ManifestError
   */
  publish(documents: readonly SentDocument[], by: string): Promise<PublishedRole[]>;
  /**
   * Signs timestamp, and snapshot where its time comes, well before they expire. Does nothing while there is no repository.
   *
   * @returns the roles that were signed anew
   * @throws RepositoryError REPOSITORY_ONLINE_KEY_MISSING
   */
  refresh(): Promise<PublishedRole[]>;
}

const ACTOR = 'control-plane';

export function releaseRepository({ db, files, keys, now }: ReleaseRepositoryOptions): ReleaseRepository {
  return {
    keys,

    async rootKeys() {
      const current = await metadataFiles(db).current();
      if (!current) throw repositoryMissing();
      const { roles, keys: rootKeys } = current.root.signed;
      return toKeySet(roles.root, rootKeys);
    },

    async publish(documents, by) {
      const at = now();
      return db.transaction().execute(async (trx) => {
        const current = await metadataFiles(trx).current();
        const publication = verifyPublication(current, documents, at);
        const { root, roots, targets, models } = publication;
        const stored: PublishedRole[] = [];
        const store = async (role: string, file: MetadataFile): Promise<void> => {
          await metadataFiles(trx).store(role, file, by, at);
          stored.push({ role, version: file.signed.version });
          await audit(trx).append({
            actor: by,
            action: 'repository.publish',
            subject: `${role}@${file.signed.version}`,
            detail: { expires: file.signed.expires, signedBy: file.signatures.map(({ keyid }) => keyid) },
            at,
          });
        };
        for (const file of roots) await store('root', file);
        if (targets) await store('targets', targets);
        for (const [model, file] of models) {
          await recordReleases(trx, files, { model, role: file, before: current?.models.get(model)?.signed, by, at });
          await store(model, file);
        }

        const newest = targets ?? current?.targets;
        const listed = new Map<string, MetadataFile<'targets'>>([
          ...(newest ? ([['targets', newest]] as const) : []),
          ...(current?.models ?? []),
          ...models,
        ]);
        const snapshot = signSnapshot(root, keys, listed, current?.snapshot.signed.version, at);
        await metadataFiles(trx).store('snapshot', snapshot, ACTOR, at);
        const timestamp = signTimestamp(root, keys, snapshot.signed, current?.timestamp.signed.version, at);
        await metadataFiles(trx).store('timestamp', timestamp, ACTOR, at);
        return stored;
      });
    },

    async refresh() {
      const at = now();
      return db.transaction().execute(async (trx) => {
        const current = await metadataFiles(trx).current();
        if (!current) return [];
        const { root, targets, models } = current;
        const stored: PublishedRole[] = [];
        const store = async (role: string, file: MetadataFile): Promise<void> => {
          await metadataFiles(trx).store(role, file, ACTOR, at);
          stored.push({ role, version: file.signed.version });
        };
        let { snapshot } = current;
        if (isDue(snapshot, SNAPSHOT_VALID_MS, at)) {
          const listed = new Map<string, MetadataFile<'targets'>>([['targets', targets], ...models]);
          snapshot = signSnapshot(root.signed, keys, listed, snapshot.signed.version, at);
          await store('snapshot', snapshot);
        }
        if (stored.length > 0 || isDue(current.timestamp, TIMESTAMP_VALID_MS, at)) {
          await store(
            'timestamp',
            signTimestamp(root.signed, keys, snapshot.signed, current.timestamp.signed.version, at),
          );
        }
        return stored;
      });
    },
  };
}

/** After a third of its time, so that a control plane which stands still for the other two does no harm. */
const isDue = ({ signed }: MetadataFile, validMs: number, nowMs: number): boolean =>
  expiresAtMs(signed) - nowMs < (validMs * 2) / 3;
