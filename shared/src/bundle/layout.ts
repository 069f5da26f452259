import { paddingOf, parseUstarHeader, USTAR_BLOCK_BYTES, ustarFileHeader } from '../archive/index.js';
import { CONTENTS_NAME, MAX_CONTENTS_BYTES, parseContents, type BundleContents, type BundleEntry } from './contents.js';
import { malformed, truncated } from './errors.js';

/** A file of which only parts are held in memory. */
export interface BundleBytes {
  readonly bytes: number;
  /** At most `length` bytes from `offset`; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface PlacedEntry extends BundleEntry {
  /** Of its first byte in the file. */
  readonly offset: number;
}

export interface BundleLayout {
  readonly contents: BundleContents;
  readonly entries: ReadonlyMap<string, PlacedEntry>;
}

/** Two blocks of zeros close an archive (POSIX.1-1988, "ustar Interchange Format"). */
export const END_BYTES = 2 * USTAR_BLOCK_BYTES;

/**
 * Where everything lies in a bundle: a ustar archive of `bundle.json`, the entries that it names, in that order, and nothing else, to the last byte.
 * Reads headers only; contents are checked by whoever uses them. Nothing is ever unpacked, so no name in it can become a path.
 *
 * @throws BundleError BUNDLE_MALFORMED, BUNDLE_TRUNCATED; what `read` throws
 */
export async function readLayout(file: BundleBytes): Promise<BundleLayout> {
  const exactly = async (offset: number, length: number): Promise<Uint8Array> => {
    if (offset + length > file.bytes) throw truncated(`it ends after ${file.bytes} bytes`);
    const bytes = await file.read(offset, length);
    if (bytes.length === length) return bytes;
    throw truncated(`it ended after ${offset + bytes.length} bytes while it was read`);
  };
  const header = async (offset: number) => {
    const entry = parseUstarHeader(await exactly(offset, USTAR_BLOCK_BYTES));
    if (entry === 'end') throw truncated('it is closed before all of its contents have come');
    if ('refused' in entry) throw malformed(entry.refused);
    if (entry.isFolder) throw malformed(`"${entry.path}" in it is a folder`);
    return entry;
  };

  const first = await header(0);
  if (first.path !== CONTENTS_NAME) throw malformed(`it begins with "${first.path}" and not with ${CONTENTS_NAME}`);
  if (first.bytes > MAX_CONTENTS_BYTES)
    throw malformed(`its table of contents has more than ${MAX_CONTENTS_BYTES} bytes`);
  const contents = parseContents(await exactly(USTAR_BLOCK_BYTES, first.bytes));

  const entries = new Map<string, PlacedEntry>();
  let offset = USTAR_BLOCK_BYTES + first.bytes + paddingOf(first.bytes);
  for (const entry of contents.entries) {
    const { path, bytes } = await header(offset);
    if (path !== entry.name || bytes !== entry.bytes)
      throw malformed(`it holds "${path}" with ${bytes} bytes where "${entry.name}" with ${entry.bytes} should be`);
    entries.set(path, { ...entry, offset: offset + USTAR_BLOCK_BYTES });
    offset += USTAR_BLOCK_BYTES + bytes + paddingOf(bytes);
    if (offset > file.bytes) throw truncated(`it ends within "${path}"`);
  }
  const end = await exactly(offset, END_BYTES);
  if (end.some((byte) => byte !== 0)) throw malformed('it holds more than its table of contents names');
  if (file.bytes !== offset + END_BYTES) throw malformed('something follows its end');
  return { contents, entries };
}

/** What precedes and follows each file when a bundle is written: header before, padding after, and the end. */
export const framing = {
  before: (name: string, bytes: number): Uint8Array => ustarFileHeader(name, bytes),
  after: (bytes: number): Uint8Array => Buffer.alloc(paddingOf(bytes)),
  end: (): Uint8Array => Buffer.alloc(END_BYTES),
};

/** A bundle that fits into the memory; what does not is written piece by piece. */
export function packBundle(
  contents: BundleContents,
  files: readonly (readonly [name: string, content: Uint8Array])[],
): Buffer {
  const all = [[CONTENTS_NAME, encodeContents(contents)] as const, ...files];
  const parts = all.flatMap(([name, content]) => [
    framing.before(name, content.length),
    content,
    framing.after(content.length),
  ]);
  return Buffer.concat([...parts, framing.end()]);
}

export const encodeContents = (contents: BundleContents): Uint8Array =>
  Buffer.from(JSON.stringify(contents, undefined, 1));
