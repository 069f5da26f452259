import { SharedMemory, type Region, type SharedMemoryOptions } from '../protocol/shared-memory.js';

export interface LaneMemoryOptions extends Pick<SharedMemoryOptions, 'isAllowed'> {
  /** Has all threads register a region, or give it up (all, where none is named). */
  readonly register: (region: Region) => Promise<void>;
  readonly unregister: (name: string | undefined) => Promise<void>;
}

/** The shared memory of clients as a lane sees it: which regions there are is decided elsewhere; tensors are read and written from here. */
export class LaneMemory extends SharedMemory {
  readonly #elsewhere: Pick<LaneMemoryOptions, 'register' | 'unregister'>;
  /** One after the other: two clients may register at the same time. */
  #adopted = Promise.resolve();

  constructor({ isAllowed, ...elsewhere }: LaneMemoryOptions) {
    super({ isAllowed });
    this.#elsewhere = elsewhere;
  }

  override register(region: Region): Promise<void> {
    return this.#elsewhere.register(region);
  }

  override unregister(name?: string): Promise<void> {
    return this.#elsewhere.unregister(name);
  }

  /** Has these regions from now on. @throws ServeError REQUEST_INVALID where one is gone */
  adopt(regions: readonly Region[]): Promise<void> {
    if (!this.isAllowed) return Promise.resolve();
    const done = this.#adopted.then(() => this.#adopt(regions));
    this.#adopted = done.catch(() => undefined);
    return done;
  }

  async #adopt(regions: readonly Region[]): Promise<void> {
    const wanted = new Map(regions.map((region) => [region.name, JSON.stringify(region)]));
    for (const region of this.status())
      if (wanted.get(region.name) !== JSON.stringify(region)) await super.unregister(region.name);
    const had = new Set(this.status().map(({ name }) => name));
    for (const region of regions) if (!had.has(region.name)) await super.register(region);
  }
}
