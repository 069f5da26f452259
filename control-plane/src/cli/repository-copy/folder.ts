import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf, type Digest } from '@drover/shared/ids';
import { parseRelease, type ReleaseManifest } from '@drover/shared/manifest';
import { metadataFileName, type MetadataFile, type MetadataKind } from '@drover/shared/trust/tuf';
import { syncDirectory } from '../../durable-file.js';
import { CliError } from '../errors.js';
import { readFile, unreadable, unwritable, writeBytes } from '../files.js';
import { parseFile } from '../release-metadata/source.js';

const NAME = /^([1-9]\d{0,15})\.([a-z0-9_-]{1,64})\.json$/;

export interface CopiedRole {
  readonly role: string;
  readonly version: number;
}

/** What `drover repository download` writes: `metadata/3.root.json`, `metadata/7.gas-classifier.json`, `files/<sha256>`. */
export interface RepositoryFolder {
  /** By version, the lowest first. @throws CliError CLI_FILE_UNREADABLE where this is no such folder */
  roles(): CopiedRole[];
  /** @throws CliError CLI_FILE_UNREADABLE; TufError */
  read<Kind extends MetadataKind>(kind: Kind, copied: CopiedRole): MetadataFile<Kind>;
  /** After the files that it names: they are synced, so that no power cut leaves it without them. @throws CliError CLI_FILE_UNWRITABLE */
  writeMetadata(role: string, version: number, bytes: Uint8Array): Promise<void>;
  pathOf(digest: Digest): string;
  has(digest: Digest): boolean;
  /** Whether the file is there and still has its digest: disks and sticks lose bits. @throws CliError CLI_FILE_UNREADABLE */
  hasIntact(digest: Digest, signal: AbortSignal): Promise<boolean>;
  /** @throws CliError CLI_FILE_UNREADABLE, also where it does not have this digest; ManifestError */
  manifest(digest: Digest): ReleaseManifest;
  /**
   * Checked while it is written; it gets its name once it is whole.
   *
   * @throws CliError CLI_FILE_UNWRITABLE for this folder, CLI_FILE_UNREADABLE for other bytes than those of the digest; what `content` throws, as it came
   */
  writeFile(digest: Digest, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}

/** @throws CliError CLI_FILE_UNWRITABLE */
export function repositoryFolder(folder: string): RepositoryFolder {
  const metadata = join(folder, 'metadata');
  const files = join(folder, 'files');
  const pathOf = (digest: Digest) => join(files, digestHex(digest));
  const make = (directory: string) => {
    try {
      mkdirSync(directory, { recursive: true });
    } catch (cause) {
      throw unwritable(directory, cause);
    }
  };
  const sync = (directory: string) => onDisk(directory, () => syncDirectory(directory));
  return {
    roles() {
      if (!existsSync(metadata)) {
        throw new CliError('CLI_FILE_UNREADABLE', 'There is no copy of a release repository in this folder.', {
          where: metadata,
          remedy: 'Name a folder that `drover repository download` wrote.',
        });
      }
      return readdirSync(metadata)
        .flatMap((name) => {
          const [, version, role] = NAME.exec(name) ?? [];
          return role === undefined ? [] : [{ role, version: Number(version) }];
        })
        .sort((left, right) => left.version - right.version);
    },
    read(kind, { role, version }) {
      const where = join(metadata, `${version}.${role}.json`);
      const file = parseFile(kind, where, readFile(where));
      if (file.signed.version === version) return file;
      throw new CliError('CLI_FILE_UNREADABLE', `This file holds version ${file.signed.version} of its role.`, {
        where,
        remedy: 'Give it the name that `drover repository download` gave it, or take the copy anew.',
      });
    },
    async writeMetadata(role, version, bytes) {
      make(metadata);
      if (existsSync(files)) await sync(files);
      writeBytes(join(metadata, `${version}.${metadataFileName(role) ?? role}`), bytes);
      await sync(metadata);
    },
    pathOf,
    has: (digest) => existsSync(pathOf(digest)),
    async hasIntact(digest, signal) {
      const file = pathOf(digest);
      if (!existsSync(file)) return false;
      const hash = createHash('sha256');
      try {
        for await (const part of createReadStream(file, { signal }) as AsyncIterable<Uint8Array>) hash.update(part);
      } catch (cause) {
        signal.throwIfAborted();
        throw unreadable(file, cause);
      }
      return hash.digest('hex') === digestHex(digest);
    },
    manifest(digest) {
      const bytes = readFile(pathOf(digest));
      if (digestOf(bytes) !== digest) throw damaged(digest);
      return parseRelease(bytes);
    },
    async writeFile(digest, content, signal) {
      make(files);
      const file = pathOf(digest);
      const temporary = `${file}.${randomUUID()}`;
      const handle = await onDisk(file, () => open(temporary, 'wx'));
      const hash = createHash('sha256');
      try {
        for await (const part of content) {
          signal.throwIfAborted();
          hash.update(part);
          await onDisk(file, () => handle.appendFile(part));
        }
        if (hash.digest('hex') !== digestHex(digest)) throw damaged(digest);
        await onDisk(file, async () => {
          await handle.sync();
          await handle.close();
          await rename(temporary, file);
        });
      } catch (error) {
        await handle.close().catch(() => undefined);
        await rm(temporary, { force: true });
        throw error;
      }
    },
  };
}

/** Only what this disk refuses becomes CLI_FILE_UNWRITABLE; what the bytes come from has errors of its own. */
async function onDisk<Result>(file: string, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (cause) {
    throw unwritable(file, cause);
  }
}

const damaged = (digest: Digest) =>
  new CliError(
    'CLI_FILE_UNREADABLE',
    `What was given for the file ${digestHex(digest).slice(0, 12)}… does not have that digest.`,
    {
      where: digest,
      remedy: 'The store that it comes from is damaged: take another copy of the release.',
    },
  );
