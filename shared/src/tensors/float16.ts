// binary16 of IEEE 754-2008, section 3.4: 1 sign, 5 exponent (bias 15), 10 significand.

const doubles = new Float64Array(1);
const words = new Uint32Array(doubles.buffer);

const SMALLEST_NORMAL = 2 ** -14;
const SMALLEST_SUBNORMAL = 2 ** -24;
/** Halfway between the largest finite number, 65504, and what would come next: from here on it rounds to infinity. */
const OVERFLOW = 65_520;
const INFINITY = 0x7c00;
const QUIET_NAN = 0x7e00;

export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const significand = bits & 0x3ff;
  if (exponent === 0x1f) return significand === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * significand * SMALLEST_SUBNORMAL;
  return sign * (1 + significand / 1024) * 2 ** (exponent - 15);
}

/** Rounds to the nearest, ties to even (section 4.3.1), from the double at once: by way of a float it would round twice. */
export function toFloat16(value: number): number {
  if (Number.isNaN(value)) return QUIET_NAN;
  doubles[0] = value;
  const sign = ((words[1] ?? 0) >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (magnitude >= OVERFLOW) return sign | INFINITY;
  if (magnitude < SMALLEST_NORMAL) return sign | roundToEven(magnitude / SMALLEST_SUBNORMAL);
  const exponent = (((words[1] ?? 0) >>> 20) & 0x7ff) - 1023;
  // A significand that rounds up to 2048 carries into the exponent, as it should.
  return sign | (((exponent + 14) << 10) + roundToEven((magnitude / 2 ** exponent) * 1024));
}

/** Of numbers below 2^31, exactly. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5 || (rest === 0.5 && floor % 2 === 0)) return floor;
  return floor + 1;
}
