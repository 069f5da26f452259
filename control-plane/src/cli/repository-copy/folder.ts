import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import {
  DEFAULT_LIMITS,
  metadataFileName,
  parseMetadata,
  type MetadataFile,
  type MetadataKind,
} from '@drover/shared/trust/tuf';
import { CliError } from '../errors.js';
import { readFile, unwritable, writeBytes } from '../files.js';

const NAME = /^([1-9]\d{0,15})\.([a-z0-9_-]{1,64})\.json$/;

export interface CopiedRole {
  readonly role: string;
  readonly version: number;
}

/** What `drover repository download` writes: `metadata/3.root.json`, `metadata/7.gas-classifier.json`, `files/<sha256>`. */
export interface RepositoryFolder {
  roles(): CopiedRole[];
  read<Kind extends MetadataKind>(kind: Kind, copied: CopiedRole): MetadataFile<Kind>;
  writeMetadata(role: string, version: number, bytes: Uint8Array): void;
  pathOf(hex: string): string;
  hasFile(hex: string): boolean;
  /** Checked while it is written; it gets its name once it is whole. @throws CliError CLI_FILE_UNREADABLE, CLI_FILE_UNWRITABLE */
  writeFile(hex: string, content: AsyncIterable<Uint8Array>): Promise<void>;
}

/** @throws CliError CLI_FILE_UNWRITABLE */
export function repositoryFolder(folder: string): RepositoryFolder {
  const metadata = join(folder, 'metadata');
  const files = join(folder, 'files');
  const pathOf = (hex: string) => join(files, hex);
  const make = (directory: string) => {
    try {
      mkdirSync(directory, { recursive: true });
    } catch (cause) {
      throw unwritable(directory, cause);
    }
  };
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
      const maxBytes = kind === 'root' ? DEFAULT_LIMITS.maxRootBytes : DEFAULT_LIMITS.maxTargetsBytes;
      return parseMetadata(kind, readFile(where), { where, maxBytes });
    },
    writeMetadata(role, version, bytes) {
      make(metadata);
      writeBytes(join(metadata, `${version}.${metadataFileName(role) ?? role}`), bytes);
    },
    pathOf,
    hasFile: (hex) => existsSync(pathOf(hex)),
    async writeFile(hex, content) {
      make(files);
      const temporary = `${pathOf(hex)}.${randomUUID()}`;
      const hash = createHash('sha256');
      try {
        await pipeline(
          content,
          async function* (parts: AsyncIterable<Uint8Array>) {
            for await (const part of parts) {
              hash.update(part);
              yield part;
            }
          },
          createWriteStream(temporary, { flags: 'wx', flush: true }),
        );
        if (hash.digest('hex') !== hex) throw damaged(hex);
        renameSync(temporary, pathOf(hex));
      } catch (cause) {
        rmSync(temporary, { force: true });
        throw cause instanceof CliError ? cause : unwritable(pathOf(hex), cause);
      }
    },
  };
}

const damaged = (hex: string) =>
  new CliError('CLI_FILE_UNREADABLE', `What was given for the file ${hex.slice(0, 12)}… does not have that digest.`, {
    where: hex,
    remedy: 'The store that it comes from is damaged: take another copy of the release.',
  });
