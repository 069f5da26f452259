/** Room that reading and writing may touch beyond the last bit. */
const SLACK_BYTES = 8;

/** Packs `values[i]`'s low `widths[i]` bits (0 to 31), least significant bit first. */
export function packBits(values: Uint32Array, widths: Uint8Array): Uint8Array {
  const totalBits = widths.reduce((sum, width) => sum + width, 0);
  const packed = new Uint8Array(Math.ceil(totalBits / 8) + SLACK_BYTES);
  let bit = 0;
  for (let index = 0; index < values.length; index++) {
    const width = widths[index] ?? 0;
    const value = (values[index] ?? 0) & ~(-1 << width);
    const at = bit >>> 3;
    const shift = bit & 7;
    const low = value << shift;
    packed[at] = (packed[at] ?? 0) | low;
    packed[at + 1] = low >>> 8;
    packed[at + 2] = low >>> 16;
    packed[at + 3] = low >>> 24;
    packed[at + 4] = shift === 0 ? 0 : value >>> (32 - shift);
    bit += width;
  }
  return packed.subarray(0, packed.length - SLACK_BYTES);
}

/** The inverse of `packBits`; undefined unless `packed` has exactly the bits that the widths ask for, and zeros to fill up its last byte. */
export function unpackBits(packed: Uint8Array, widths: Uint8Array): Uint32Array | undefined {
  const padded = new Uint8Array(packed.length + SLACK_BYTES);
  padded.set(packed);
  const values = new Uint32Array(widths.length);
  const totalBits = widths.reduce((sum, width) => sum + width, 0);
  if (packed.length !== Math.ceil(totalBits / 8)) return undefined;
  let bit = 0;
  for (let index = 0; index < values.length; index++) {
    const width = widths[index] ?? 0;
    const at = bit >>> 3;
    const shift = bit & 7;
    const word =
      (padded[at] ?? 0) | ((padded[at + 1] ?? 0) << 8) | ((padded[at + 2] ?? 0) << 16) | ((padded[at + 3] ?? 0) << 24);
    const high = shift === 0 ? 0 : (padded[at + 4] ?? 0) << (32 - shift);
    values[index] = ((word >>> shift) | high) & ~(-1 << width);
    bit += width;
  }
  return (padded[bit >>> 3] ?? 0) >>> (bit & 7) === 0 ? values : undefined;
}
