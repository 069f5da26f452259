import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { CodedError } from '@drover/shared/coded-error';
import { digestHex, type Digest } from '@drover/shared/ids';
import {
  digestOfFile,
  HostError,
  makeDirectoryDurably,
  removeTemporaries,
  syncDirectory,
  syncFile,
  systemCode,
  toWriteError,
  writeDurably,
} from '../host/index.js';
import type { InstalledModel } from '../update/ports.js';
import { AttachError } from './errors.js';

/** Readable for whoever may enter the folder above, writable for nobody. */
const FILE_MODE = 0o444;
const FOLDER_MODE = 0o755;
const DIGEST_LETTERS = 12;

interface PlacedFile {
  /** Below the folder. */
  readonly path: string;
  readonly digest: Digest;
  readonly source: string;
}

/**
 * The files of releases as an attached application finds them: a folder for each beside a link to the one that shall run (docs/protocol.md,
 * section 14).
 *
 * INVARIANT: a folder appears under its name only whole, with files that have their digests, on the disk; the link, once made, always leads to one.
 */
export class PlacedReleases {
  readonly #link: string;
  readonly #folders: string;

  /** @param path of the link, absolute */
  constructor(path: string) {
    this.#link = path;
    this.#folders = `${path}.releases`;
  }

  /** Copies the release to where the application may read it, unless an undamaged copy is there. @returns the folder */
  async place(installed: InstalledModel, signal: AbortSignal): Promise<string> {
    return this.#writing(async () => {
      await this.#prepare();
      const files = filesOf(installed);
      const prefix = folderPrefix(installed);
      for (const name of await readdir(this.#folders)) {
        const folder = join(this.#folders, name);
        if (name.startsWith(prefix) && (await isWhole(folder, installed, files, signal))) return folder;
      }
      // A name of its own, so that a damaged copy, which the link may lead to, needs not be removed first.
      const folder = join(this.#folders, `${prefix}${randomBytes(3).toString('hex')}`);
      await this.#copy(installed, files, folder, signal);
      return folder;
    });
  }

  /** Where the link leads; undefined where there is none. */
  async linked(): Promise<string | undefined> {
    try {
      return resolve(dirname(this.#link), await readlink(this.#link));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw this.#unusable(error);
    }
  }

  /** Atomic: whoever opens the path gets one folder or the other. */
  async switchTo(folder: string): Promise<void> {
    await this.#writing(async () => {
      const temporary = `${this.#link}.${randomBytes(6).toString('hex')}.tmp`;
      // Relative, so that it holds where the folder is mounted under another path, as in a container.
      await symlink(relative(dirname(this.#link), folder), temporary);
      await rename(temporary, this.#link);
      await syncDirectory(dirname(this.#link));
    });
  }

  async unlink(): Promise<void> {
    await this.#writing(async () => {
      await rm(this.#link, { force: true });
      await syncDirectory(dirname(this.#link));
    });
  }

  /** Removes all other folders. An application that still has their files open keeps them until it closes them. */
  async keepOnly(kept: readonly (string | undefined)[]): Promise<void> {
    await this.#writing(async () => {
      for (const name of await readdir(this.#folders)) {
        const folder = join(this.#folders, name);
        if (!kept.includes(folder)) await rm(folder, { recursive: true, force: true });
      }
    });
  }

  async #prepare(): Promise<void> {
    const found = await lstat(this.#link).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (found && !found.isSymbolicLink()) throw this.#unusable('something that is no symbolic link lies there');
    await makeDirectoryDurably(this.#folders);
    await chmod(this.#folders, FOLDER_MODE);
    await removeTemporaries(this.#folders);
    for (const name of await readdir(dirname(this.#link))) {
      if (name.startsWith(`${basename(this.#link)}.`) && /\.[0-9a-f]{12}\.tmp$/.test(name))
        await rm(join(dirname(this.#link), name), { force: true });
    }
  }

  async #copy(
    installed: InstalledModel,
    files: readonly PlacedFile[],
    folder: string,
    signal: AbortSignal,
  ): Promise<void> {
    const temporary = `${folder}.tmp`;
    const folders = new Set([temporary]);
    await mkdir(temporary);
    for (const { path, source, digest } of files) {
      const file = join(temporary, path);
      await mkdir(dirname(file), { recursive: true });
      for (let above = dirname(file); above !== temporary; above = dirname(above)) folders.add(above);
      // A copy, not a second name: whatever the application does to it must not change what the agent goes back to.
      await copyFile(source, file, constants.COPYFILE_FICLONE);
      await chmod(file, FILE_MODE);
      await syncFile(file);
      if ((await digestOfFile(file, signal)) !== digest) throw damaged(file);
    }
    await writeDurably(join(temporary, 'release.json'), describe(installed), FILE_MODE);
    await writeDurably(join(temporary, 'digest'), `${installed.loaded}\n`, FILE_MODE);
    for (const name of ['release.json', 'digest']) await chmod(join(temporary, name), FILE_MODE);
    for (const each of folders) {
      await chmod(each, FOLDER_MODE);
      await syncDirectory(each);
    }
    await rename(temporary, folder);
    await syncDirectory(this.#folders);
  }

  async #writing<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof CodedError) throw error;
      const told = toWriteError(error, this.#link);
      throw told instanceof HostError && told.code === 'HOST_DISK_FULL' ? told : this.#unusable(error);
    }
  }

  #unusable(cause: unknown): AttachError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new AttachError('ATTACH_PATH_UNUSABLE', `No release can be put at ${this.#link}: ${why}.`, {
      where: this.#link,
      remedy:
        'Give the agent a path of its own in a folder that its user may write (under systemd: ReadWritePaths=), and remove what else lies there.',
      cause,
    });
  }
}

const folderPrefix = ({ release, loaded }: InstalledModel): string =>
  `${release.version}-${digestHex(release.digest).slice(0, DIGEST_LETTERS)}-${digestHex(loaded).slice(0, DIGEST_LETTERS)}-`;

/** The model under a name that is the same for every release, and all files of the release under the paths of its manifest. */
function filesOf({ manifest, variant, directory, modelFile, loaded }: InstalledModel): PlacedFile[] {
  const others = [manifest.goldenVectors, ...manifest.assets.map(({ file }) => file)];
  if (manifest.referenceProfile) others.push(manifest.referenceProfile);
  return [
    { path: `model${extname(variant.model.path)}`, digest: loaded, source: modelFile },
    ...others.map(({ path, digest }) => ({ path: join('files', path), digest, source: join(directory, path) })),
  ];
}

function describe({ model, release, variant, loaded, adaptation }: InstalledModel): string {
  const document = {
    format: 'drover.attached/1',
    model,
    version: release.version,
    digest: release.digest,
    file: `model${extname(variant.model.path)}`,
    loaded,
    ...(adaptation === undefined ? {} : { adaptation }),
    signature: variant.signature,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

async function isWhole(
  folder: string,
  installed: InstalledModel,
  files: readonly PlacedFile[],
  signal: AbortSignal,
): Promise<boolean> {
  const description = await readFile(join(folder, 'release.json'), 'utf8').catch(() => undefined);
  const loaded = await readFile(join(folder, 'digest'), 'utf8').catch(() => undefined);
  if (description !== describe(installed) || loaded !== `${installed.loaded}\n`) return false;
  for (const { path, digest } of files) {
    if ((await digestOfFile(join(folder, path), signal)) !== digest) return false;
  }
  return true;
}

const damaged = (where: string): AttachError =>
  new AttachError('ATTACH_COPY_DAMAGED', 'A file of the release is not what it was after it was copied.', {
    where,
    remedy: 'Check the disk (smartctl, dmesg), then order the release again.',
  });
