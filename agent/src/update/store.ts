import { copyFile, link, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestHex, type Digest, type ModelName } from '@drover/shared/ids';
import type { FileReference } from '@drover/shared/manifest';
import {
  digestOfFile,
  makeDirectoryDurably,
  removeTemporaries,
  syncDirectory,
  syncFile,
  systemCode,
  toWriteError,
  writeDurably,
} from '../host/index.js';
import type { ReleaseRef } from './accept.js';
import { UpdateError } from './errors.js';
import { kindFor } from './kinds/index.js';
import type { WriteGate } from './kill-points.js';
import type { Installed, InstalledModel } from './ports.js';
import { openRelease, type ReleaseExpectation, type VerifiedRelease } from './release.js';

export interface StoreLayout {
  /** Whole files by digest. */
  readonly blobs: string;
  /** Partial downloads by digest, and manifests of releases that are not staged yet. */
  readonly incoming: string;
  /** One folder per staged release, by the digest of its manifest. */
  readonly releases: string;
  /** Fine-tuned model files by digest. */
  readonly adaptations: string;
}

export const storeLayout = (dataDir: string): StoreLayout => ({
  blobs: join(dataDir, 'blobs'),
  incoming: join(dataDir, 'incoming'),
  releases: join(dataDir, 'releases'),
  adaptations: join(dataDir, 'adaptations'),
});

/** No manifest path begins with a dot, so this cannot collide with a file of the release. */
export const MANIFEST_NAME = '.release.json';
/** What the file system needs for itself and for the databases beside the files. */
const RESERVE_BYTES = 16 * 1024 ** 2;

export interface StoreOptions {
  readonly dataDir: string;
  readonly gate: WriteGate;
  readonly diskFreeBytes: (path: string) => Promise<number>;
}

/** Content-addressed files of releases. Nothing in it is trusted by its name: what is loaded was verified when it was staged. */
export class ReleaseStore {
  readonly layout: StoreLayout;
  readonly #gate: WriteGate;
  readonly #diskFreeBytes: (path: string) => Promise<number>;

  private constructor(options: StoreOptions) {
    this.layout = storeLayout(options.dataDir);
    this.#gate = options.gate;
    this.#diskFreeBytes = options.diskFreeBytes;
  }

  static async open(options: StoreOptions): Promise<ReleaseStore> {
    const store = new ReleaseStore(options);
    for (const folder of [options.dataDir, ...(Object.values(store.layout) as string[])]) {
      await makeDirectoryDurably(folder);
      // Nothing writes there yet: what a stop left half written belongs to nobody.
      await removeTemporaries(folder);
    }
    return store;
  }

  blobFile = (digest: Digest): string => join(this.layout.blobs, digestHex(digest));
  partialFile = (digest: Digest): string => join(this.layout.incoming, `${digestHex(digest)}.partial`);
  /** What came of a compressed chunk that is not whole yet. */
  spoolFile = (digest: Digest): string => join(this.layout.incoming, `${digestHex(digest)}.spool`);
  /** The directory of the pack that a partial file is made from, so that a restart does not ask for it again. */
  #directoryFile = (digest: Digest): string => join(this.layout.incoming, `${digestHex(digest)}.directory`);
  releaseDirectory = (digest: Digest): string => join(this.layout.releases, digestHex(digest));
  adaptationFile = (digest: Digest): string => join(this.layout.adaptations, `${digestHex(digest)}.onnx`);
  #incomingManifest = (digest: Digest): string => join(this.layout.incoming, `${digestHex(digest)}.json`);

  async hasBlob({ digest, bytes }: FileReference): Promise<boolean> {
    return (await sizeOf(this.blobFile(digest))) === bytes;
  }

  /** Reads it: a blob that came with an earlier release may have been damaged since. A damaged one is removed, to be fetched again. */
  async hasIntactBlob(reference: FileReference, signal: AbortSignal): Promise<boolean> {
    if (!(await this.hasBlob(reference))) return false;
    const file = this.blobFile(reference.digest);
    if ((await digestOfFile(file, signal)) === reference.digest) return true;
    await rm(file, { force: true });
    return false;
  }

  /** @throws UpdateError UPDATE_DISK_FULL when the missing files do not fit */
  async reserve(files: readonly FileReference[]): Promise<void> {
    let neededBytes = RESERVE_BYTES;
    for (const file of files) {
      if (await this.hasBlob(file)) continue;
      neededBytes += Math.max(0, file.bytes - ((await sizeOf(this.partialFile(file.digest))) ?? 0));
    }
    const freeBytes = await this.#diskFreeBytes(this.layout.blobs);
    if (freeBytes >= neededBytes) return;
    throw new UpdateError(
      'UPDATE_DISK_FULL',
      `The release needs ${toMiB(neededBytes)} MiB; ${toMiB(freeBytes)} MiB are free.`,
      {
        where: this.layout.blobs,
        remedy: `Free ${toMiB(neededBytes - freeBytes)} MiB on this file system, then order the release again.`,
      },
    );
  }

  /** A whole, checked download becomes a blob. */
  async adoptPartial(digest: Digest): Promise<void> {
    await this.#write(`blob:${digest}`, this.blobFile(digest), async (file) => {
      await syncFile(this.partialFile(digest));
      await rename(this.partialFile(digest), file);
      await syncDirectory(this.layout.blobs);
    });
    await rm(this.#directoryFile(digest), { force: true });
    await rm(this.spoolFile(digest), { force: true });
  }

  async discardPartial(digest: Digest): Promise<void> {
    await rm(this.partialFile(digest), { force: true });
  }

  /** Passed before bytes are appended to a partial file. */
  passPartialWrite(digest: Digest): void {
    this.#gate.pass(`partial:${digest}`);
  }

  /** Passed before each write of a delivery in chunks: a chunk, the sync of several, the spool. */
  passDelivery(write: 'chunk' | 'sync' | 'spool', digest: Digest): void {
    this.#gate.pass(`${write}:${digest}`);
  }

  readDirectory = (digest: Digest): Promise<Uint8Array | undefined> => readIfThere(this.#directoryFile(digest));

  async storeDirectory(digest: Digest, content: Uint8Array): Promise<void> {
    await this.#write(`directory:${digest}`, this.#directoryFile(digest), (file) => writeDurably(file, content));
  }

  /** The manifest as it was stored, from the staged release or from an interrupted download. */
  async readManifest(digest: Digest): Promise<Uint8Array | undefined> {
    const staged = await readIfThere(join(this.releaseDirectory(digest), MANIFEST_NAME));
    return staged ?? readIfThere(this.#incomingManifest(digest));
  }

  async discardManifest(digest: Digest): Promise<void> {
    await rm(join(this.releaseDirectory(digest), MANIFEST_NAME), { force: true });
    await rm(this.#incomingManifest(digest), { force: true });
  }

  async storeManifest({ release, manifestBytes }: VerifiedRelease): Promise<void> {
    await this.#write('manifest', this.#incomingManifest(release.digest), (file) => writeDurably(file, manifestBytes));
  }

  /** @throws UpdateError UPDATE_FILE_DAMAGED; the damaged blob is removed, so that the next attempt fetches it again */
  async verifyBlob(reference: FileReference, signal: AbortSignal): Promise<void> {
    const file = this.blobFile(reference.digest);
    const found = await digestOfFile(file, signal);
    if (found === reference.digest) return;
    await rm(file, { force: true });
    throw new UpdateError('UPDATE_FILE_DAMAGED', `The stored file "${reference.path}" no longer has its digest.`, {
      where: file,
      remedy: 'Check the disk (smartctl, dmesg), then order the release again.',
    });
  }

  /** Builds the folder of a release beside its place and renames it there whole. Does nothing when it is there and whole. */
  async stage(release: VerifiedRelease, signal: AbortSignal): Promise<void> {
    const target = this.releaseDirectory(release.release.digest);
    if (await this.#isStaged(target, release, signal)) return;
    const temporary = `${target}.tmp`;
    await this.#write('stage:files', target, async () => {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary, { recursive: true });
      const folders = new Set([temporary]);
      for (const { path, digest } of release.files) {
        const file = join(temporary, path);
        await mkdir(dirname(file), { recursive: true });
        folders.add(dirname(file));
        await linkOrCopy(this.blobFile(digest), file);
      }
      await writeDurably(join(temporary, MANIFEST_NAME), release.manifestBytes);
      for (const folder of folders) await syncDirectory(folder);
    });
    await this.#write('stage:rename', target, async () => {
      await rm(target, { recursive: true, force: true });
      await rename(temporary, target);
      await syncDirectory(this.layout.releases);
    });
  }

  /** The blobs were verified just before: a staged file that is one of them by another name is as good. */
  async #isStaged(target: string, { manifestBytes, files }: VerifiedRelease, signal: AbortSignal) {
    const staged = await readIfThere(join(target, MANIFEST_NAME));
    if (!staged || Buffer.compare(staged, manifestBytes) !== 0) return false;
    for (const { path, digest } of files) {
      const file = join(target, path);
      if (await isSameFile(file, this.blobFile(digest))) continue;
      if ((await digestOfFile(file, signal)) !== digest) return false;
    }
    return true;
  }

  /** A staged release, its manifest checked again by digest and its files present with their sizes. */
  async load(expected: ReleaseExpectation): Promise<Installed> {
    const directory = this.releaseDirectory(expected.release.digest);
    const manifestBytes = await readIfThere(join(directory, MANIFEST_NAME));
    const missing = (file: string) =>
      new UpdateError(
        'UPDATE_FILE_DAMAGED',
        `${expected.model} ${expected.release.version} is not complete on this disk.`,
        {
          where: file,
          remedy: 'Check the disk (smartctl, dmesg), then order the release again.',
        },
      );
    if (!manifestBytes) throw missing(directory);
    const { manifest, files, release } = openRelease(manifestBytes, expected);
    for (const { path, bytes } of files) {
      if ((await sizeOf(join(directory, path))) !== bytes) throw missing(join(directory, path));
    }
    return kindFor(expected.model).installed({ model: expected.model, release, manifest, directory }, expected);
  }

  /** @throws UpdateError ADAPTATION_DAMAGED when the file is not what its digest says */
  async storeAdaptation(model: ModelName, source: string, digest: Digest, signal: AbortSignal): Promise<void> {
    const target = this.adaptationFile(digest);
    if (source !== target) {
      await this.#write('adaptation', target, async () => {
        await copyFile(source, `${target}.tmp`);
        await syncFile(`${target}.tmp`);
        await rename(`${target}.tmp`, target);
        await syncDirectory(this.layout.adaptations);
      });
    }
    const found = await digestOfFile(target, signal);
    if (found === digest) return;
    await rm(target, { force: true });
    throw new UpdateError(
      'ADAPTATION_DAMAGED',
      `The adaptation of ${model} is ${found ?? 'missing'}; expected was ${digest}.`,
      {
        where: source,
        remedy: 'Nothing: the device goes on with its release and adapts again when it has fresh samples.',
      },
    );
  }

  async #write(name: string, file: string, act: (file: string) => Promise<void>): Promise<void> {
    this.#gate.pass(name);
    try {
      await act(file);
    } catch (error) {
      throw toWriteError(error, file);
    }
  }
}

/** Marks a release folder as one of `model` that runs a fine-tuned file in place of the release's own. */
export const adaptedModel = (base: InstalledModel, modelFile: string, digest: Digest): InstalledModel => ({
  ...base,
  modelFile,
  loaded: digest,
  adaptation: digest,
});

export const isSameRelease = (left: ReleaseRef | undefined, right: ReleaseRef | undefined): boolean =>
  left !== undefined && left.digest === right?.digest;

const toMiB = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function isSameFile(left: string, right: string): Promise<boolean> {
  try {
    const [a, b] = await Promise.all([stat(left, { bigint: true }), stat(right, { bigint: true })]);
    return a.ino === b.ino && a.dev === b.dev;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false;
    throw error;
  }
}

async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A second name costs no space; file systems without hard links (FAT) and other devices get a copy. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    if (!['EPERM', 'ENOTSUP', 'EXDEV', 'EMLINK', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error;
    await copyFile(from, to);
    await syncFile(to);
  }
}
