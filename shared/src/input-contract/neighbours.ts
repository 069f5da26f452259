// nextUp and nextDown of IEEE 754-2019, section 5.3.1, for doubles.

const double = new Float64Array(1);
const bits = new BigInt64Array(double.buffer);

/** The least double above it. */
export function nextUp(value: number): number {
  if (!(value < Infinity)) return value;
  if (value === 0) return Number.MIN_VALUE;
  double[0] = value;
  bits[0] = (bits[0] ?? 0n) + (value > 0 ? 1n : -1n);
  return double[0];
}

/** The greatest double below it. */
export const nextDown = (value: number): number => -nextUp(-value);
