import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { ServeError } from '../errors.js';
import { invalid } from './invalid.js';

/** A part of a POSIX shared memory object that a client made, under a name of its choice. */
export interface Region {
  readonly name: string;
  /** Of the object: as for shm_open(3). */
  readonly key: string;
  readonly offset: number;
  readonly byteSize: number;
}

/** Where a tensor lies or goes. */
export interface Place {
  readonly region: string;
  /** Within the region. */
  readonly offset: number;
  readonly byteSize: number;
}

/** What Triton calls `allow-client-shm`: whoever may ask for inferences could else have this process read and write shared memory of others. */
export interface SharedMemoryOptions {
  readonly isAllowed: boolean;
  /** Regions were registered or given up. The client is answered after it. */
  readonly onChange?: ((regions: readonly Region[]) => Promise<void>) | undefined;
}

const MAX_REGIONS = 256;
/** shm_open(3): one slash, then a name; Linux keeps the object as a file of that name. */
const KEY = /^\/?([A-Za-z0-9_.-]{1,250})$/;
const FOLDER = '/dev/shm';

/** System shared memory (Triton's shared-memory extension): large tensors need not go through a socket. */
export class SharedMemory {
  readonly #isAllowed: boolean;
  readonly #onChange: (regions: readonly Region[]) => Promise<void>;
  readonly #regions = new Map<string, { readonly region: Region; readonly file: FileHandle }>();

  constructor({ isAllowed, onChange = () => Promise.resolve() }: SharedMemoryOptions) {
    this.#isAllowed = isAllowed;
    this.#onChange = onChange;
  }

  get isAllowed(): boolean {
    return this.#isAllowed;
  }

  /** @throws ServeError REQUEST_INVALID, SHARED_MEMORY_OFF */
  async register(region: Region): Promise<void> {
    this.#demandAllowed();
    const quoted = JSON.stringify(region.name);
    if (this.#regions.has(region.name)) throw invalid(`there is a region ${quoted} already`);
    if (this.#regions.size >= MAX_REGIONS) throw invalid(`there are ${MAX_REGIONS} regions already`);
    const [, name] = KEY.exec(region.key) ?? [];
    if (name === undefined || name === '.' || name === '..')
      throw invalid(`${JSON.stringify(region.key)} is no key of shared memory`);
    const file = await open(`${FOLDER}/${name}`, constants.O_RDWR | constants.O_NOFOLLOW).catch((cause: unknown) => {
      throw invalid(
        `the shared memory ${JSON.stringify(region.key)} cannot be opened: ${(cause as Error).message}`,
        cause,
      );
    });
    const { size } = await file.stat();
    if (region.offset + region.byteSize > size || this.#regions.has(region.name)) {
      await file.close();
      throw invalid(`the region ${quoted} does not lie within the ${size} bytes of ${JSON.stringify(region.key)}`);
    }
    this.#regions.set(region.name, { region, file });
    await this.#onChange(this.#all());
  }

  /** All where none is named. @throws ServeError SHARED_MEMORY_OFF */
  async unregister(name?: string): Promise<void> {
    this.#demandAllowed();
    const gone = name === undefined ? [...this.#regions.keys()] : [name];
    for (const each of gone) {
      const known = this.#regions.get(each);
      this.#regions.delete(each);
      await known?.file.close();
    }
    await this.#onChange(this.#all());
  }

  /** @throws ServeError REQUEST_INVALID, SHARED_MEMORY_OFF */
  status(name?: string): Region[] {
    this.#demandAllowed();
    if (name !== undefined) return [this.#find(name).region];
    return this.#all();
  }

  /** So that nothing is run for an output that has no place. @throws ServeError REQUEST_INVALID, SHARED_MEMORY_OFF */
  demand(place: Place): void {
    this.#within(place);
  }

  /** Into a buffer of its own. @throws ServeError REQUEST_INVALID */
  async read(place: Place): Promise<Uint8Array<ArrayBuffer>> {
    const { file, position } = this.#within(place);
    const bytes = Buffer.from(new ArrayBuffer(place.byteSize));
    const { bytesRead } = await file.read(bytes, 0, place.byteSize, position);
    if (bytesRead === place.byteSize) return bytes;
    throw invalid(`the shared memory of the region ${JSON.stringify(place.region)} was made smaller`);
  }

  /** @throws ServeError REQUEST_INVALID */
  async write(place: Place, bytes: Uint8Array): Promise<void> {
    const { file, position } = this.#within(place);
    if (bytes.length > place.byteSize)
      throw invalid(
        `an output of ${bytes.length} bytes does not fit into ${place.byteSize} of ${JSON.stringify(place.region)}`,
      );
    await file.write(bytes, 0, bytes.length, position);
  }

  async close(): Promise<void> {
    for (const { file } of this.#regions.values()) await file.close();
    this.#regions.clear();
  }

  #all(): Region[] {
    return [...this.#regions.values()].map(({ region }) => region);
  }

  #within({ region: name, offset, byteSize }: Place): { file: FileHandle; position: number } {
    this.#demandAllowed();
    const { region, file } = this.#find(name);
    if (offset + byteSize <= region.byteSize) return { file, position: region.offset + offset };
    throw invalid(`${byteSize} bytes at ${offset} do not lie within the region ${JSON.stringify(name)}`);
  }

  #find(name: string): { readonly region: Region; readonly file: FileHandle } {
    const known = this.#regions.get(name);
    if (known) return known;
    throw invalid(`there is no shared memory region ${JSON.stringify(name)}`);
  }

  #demandAllowed(): void {
    if (this.#isAllowed) return;
    throw new ServeError('SHARED_MEMORY_OFF', 'This agent does not use the shared memory of applications.', {
      remedy: 'Set serve.sharedMemory to true where all that may ask for inferences on this device trust each other.',
    });
  }
}
