const LENGTH_BYTES = 4;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Strings, each after its length in four bytes, little-endian (Triton's binary tensor extension).
 *
 * @returns undefined where there are not exactly so many
 * @throws TypeError for bytes that are no UTF-8
 */
export function bytesToStrings(bytes: Uint8Array, count: number): string[] | undefined {
  // Before anything is allocated for them.
  if (count * LENGTH_BYTES > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: string[] = [];
  let offset = 0;
  while (strings.length < count) {
    if (offset + LENGTH_BYTES > bytes.length) return undefined;
    const start = offset + LENGTH_BYTES;
    offset = start + view.getUint32(offset, true);
    if (offset > bytes.length) return undefined;
    strings.push(utf8.decode(bytes.subarray(start, offset)));
  }
  return offset === bytes.length ? strings : undefined;
}

export function stringsToBytes(strings: readonly string[]): Uint8Array {
  return Buffer.concat(
    strings.flatMap((text) => {
      const bytes = Buffer.from(text, 'utf8');
      const length = Buffer.alloc(LENGTH_BYTES);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}
