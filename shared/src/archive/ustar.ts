/** What we read of an archive: regular files and folders under relative paths. */
export interface UstarEntry {
  /** With `/`, without `.` and `..` parts. */
  readonly path: string;
  readonly isFolder: boolean;
  /** Of the contents that follow, filled up to whole blocks. */
  readonly bytes: number;
}

export const USTAR_BLOCK_BYTES = 512;
const CHECKSUM_FROM = 148;
const CHECKSUM_TO = 156;
const PART = '[A-Za-z0-9@._+-]+';
const PATH = new RegExp(`^${PART}(/${PART})*/?$`);

/** Bytes that fill a file's last block. */
export const paddingOf = (bytes: number): number =>
  (USTAR_BLOCK_BYTES - (bytes % USTAR_BLOCK_BYTES)) % USTAR_BLOCK_BYTES;

/**
 * Reads one header block of a ustar archive (POSIX.1-1988, "ustar Interchange Format"). Links, devices, extended headers, absolute paths and ways
 * upwards are refused, not skipped: who unpacks writes nothing but files inside one folder.
 *
 * @returns the entry; `end` for the block of zeros that closes an archive; else why it is refused, as the end of a sentence
 */
export function parseUstarHeader(header: Uint8Array): UstarEntry | 'end' | { readonly refused: string } {
  if (header.length !== USTAR_BLOCK_BYTES) return { refused: 'a header in it is cut off' };
  if (header.every((byte) => byte === 0)) return 'end';
  // The checksum is that of the header with its own field as spaces.
  const sum = header.reduce(
    (total, byte, index) => total + (index >= CHECKSUM_FROM && index < CHECKSUM_TO ? 0x20 : byte),
    0,
  );
  const [checksum, bytes] = [octal(header, CHECKSUM_FROM, 8), octal(header, 124, 12)];
  if (checksum !== sum || bytes === undefined) return { refused: 'a header in it is damaged' };
  if (text(header, 257, 5) !== 'ustar') return { refused: 'it is no ustar archive' };
  const prefix = text(header, 345, 155);
  const name = prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`;
  if (!PATH.test(name) || name.split('/').some((part) => part === '.' || part === '..'))
    return { refused: `the path ${JSON.stringify(name)} in it is not allowed` };
  const kind = text(header, 156, 1);
  if (kind === '5') return { path: name.replace(/\/$/, ''), isFolder: true, bytes: 0 };
  if ((kind !== '' && kind !== '0') || name.endsWith('/'))
    return { refused: `"${name}" is neither a file nor a folder` };
  return { path: name, isFolder: false, bytes };
}

/** Largest file that the eleven octal digits of a header can state. */
export const MAX_USTAR_FILE_BYTES = 8 ** 11 - 1;

/** Header of a regular file that anybody may read, of no owner and no time, so that equal contents make equal archives. `path`: at most 100 bytes. */
export function ustarFileHeader(path: string, bytes: number): Uint8Array {
  if (path.length > 100 || !PATH.test(path) || bytes > MAX_USTAR_FILE_BYTES)
    throw new RangeError(`"${path}" with ${bytes} bytes does not fit into an archive.`);
  const header = Buffer.alloc(USTAR_BLOCK_BYTES);
  const fields: [text: string, at: number][] = [
    [path, 0],
    ['0000644\0', 100],
    ['0000000\0', 108],
    ['0000000\0', 116],
    [`${bytes.toString(8).padStart(11, '0')}\0`, 124],
    ['00000000000\0', 136],
    [' '.repeat(8), CHECKSUM_FROM],
    ['0', 156],
    ['ustar\x0000', 257],
  ];
  for (const [field, at] of fields) header.write(field, at, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM_FROM, 'latin1');
  return header;
}

function text(header: Uint8Array, from: number, length: number): string {
  const field = header.subarray(from, from + length);
  const end = field.indexOf(0);
  return Buffer.from(end === -1 ? field : field.subarray(0, end)).toString('latin1');
}

function octal(header: Uint8Array, from: number, length: number): number | undefined {
  const digits = text(header, from, length).trim();
  return /^[0-7]{1,11}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}
