import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { digestHex, type Digest } from '@drover/shared/ids';
import { errnoOf, toStoreError } from '../blobs/errors.js';

interface Held {
  readonly pack: string;
  readonly bytes: number;
  usedAt: number;
}

/**
 * Packs on the disk, the least recently used dropped above a bound. It can be deleted at any time: everything in it is made again when it is asked for.
 * `<key>.directory` names its pack `<hex>.pack`; a directory without its pack is dropped when it is found.
 */
export class PackCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #held = new Map<string, Held>();

  private constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  static async open(folder: string, maxBytes: number): Promise<PackCache> {
    const cache = new PackCache(folder, maxBytes);
    try {
      await mkdir(folder, { recursive: true });
      await cache.#load();
    } catch (cause) {
      throw toStoreError(folder, cause);
    }
    return cache;
  }

  /** The encoded directory, if it and its pack are here. */
  async directory(key: string): Promise<Buffer | undefined> {
    const held = this.#held.get(key);
    if (!held) return undefined;
    held.usedAt = Date.now();
    const file = this.#directoryFile(key);
    try {
      await utimes(file, new Date(), new Date());
      return await readFile(file);
    } catch (cause) {
      if (errnoOf(cause) !== 'ENOENT') throw toStoreError(this.#folder, cause);
      this.#held.delete(key);
      return undefined;
    }
  }

  /** Opens a pack for reading: one that is dropped meanwhile can still be read to its end. */
  async openPack(pack: Digest): Promise<FileHandle | undefined> {
    try {
      return await open(this.#packFile(digestHex(pack)), 'r');
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return undefined;
      throw toStoreError(this.#folder, cause);
    }
  }

  async begin(): Promise<{ readonly file: string; readonly handle: FileHandle }> {
    const file = join(this.#folder, `${randomUUID()}.tmp`);
    try {
      return { file, handle: await open(file, 'wx+') };
    } catch (cause) {
      throw toStoreError(this.#folder, cause);
    }
  }

  /** Takes over a temporary file that was synced. What a power cut takes of the names is made again. */
  async add(
    key: string,
    { file, pack, bytes, directory }: { file: string; pack: Digest; bytes: number; directory: Uint8Array },
  ) {
    const hex = digestHex(pack);
    try {
      await rename(file, this.#packFile(hex));
      await writeFile(`${this.#directoryFile(key)}.tmp`, directory);
      await rename(`${this.#directoryFile(key)}.tmp`, this.#directoryFile(key));
    } catch (cause) {
      throw toStoreError(this.#folder, cause);
    }
    this.#held.set(key, { pack: hex, bytes, usedAt: Date.now() });
    await this.#shrink(key);
  }

  async #load(): Promise<void> {
    const names = await readdir(this.#folder);
    const packs = new Set(names.filter((name) => name.endsWith('.pack')));
    for (const name of names) {
      const file = join(this.#folder, name);
      if (!name.endsWith('.directory')) {
        if (!name.endsWith('.pack')) await rm(file, { force: true });
        continue;
      }
      const key = name.slice(0, -'.directory'.length);
      const pack = packOf(await readFile(file));
      if (pack === undefined || !packs.has(`${pack}.pack`)) {
        await rm(file, { force: true });
        continue;
      }
      const { size } = await stat(this.#packFile(pack));
      this.#held.set(key, { pack, bytes: size, usedAt: (await stat(file)).mtimeMs });
    }
    const used = new Set([...this.#held.values()].map(({ pack }) => `${pack}.pack`));
    for (const name of packs) if (!used.has(name)) await rm(join(this.#folder, name), { force: true });
    await this.#shrink();
  }

  async #shrink(except?: string): Promise<void> {
    const byAge = [...this.#held].sort(([, left], [, right]) => left.usedAt - right.usedAt);
    let total = byAge.reduce((sum, [, { bytes }]) => sum + bytes, 0);
    for (const [key, { pack, bytes }] of byAge) {
      if (total <= this.#maxBytes) return;
      if (key === except) continue;
      this.#held.delete(key);
      total -= bytes;
      await rm(this.#directoryFile(key), { force: true });
      const isShared = [...this.#held.values()].some((other) => other.pack === pack);
      if (!isShared) await rm(this.#packFile(pack), { force: true });
    }
  }

  #directoryFile = (key: string): string => join(this.#folder, `${key}.directory`);
  #packFile = (hex: string): string => join(this.#folder, `${hex}.pack`);
}

/** Bytes 72 to 104 of a directory (docs/protocol.md, section 10, step 5). */
const packOf = (directory: Buffer): string | undefined =>
  directory.length < 104 ? undefined : directory.subarray(72, 104).toString('hex');
