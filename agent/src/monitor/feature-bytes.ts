/** The little-endian float32 bytes of one row of a batch, as a view. */
export const rowBytes = (values: Float32Array, row: number, width: number): Buffer =>
  Buffer.from(values.buffer, values.byteOffset + row * width * 4, width * 4);

/** Rows of equal length in one array. Copies: a buffer of SQLite need not be aligned for floats. */
export function joinFeatures(rows: readonly Uint8Array[]): { values: Float32Array; width: number } {
  const rowLength = rows[0]?.length ?? 0;
  const joined = new Uint8Array(rowLength * rows.length);
  rows.forEach((row, index) => joined.set(row, index * rowLength));
  return { values: new Float32Array(joined.buffer), width: rowLength / 4 };
}
