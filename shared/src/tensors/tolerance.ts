import { Type, type Static } from 'typebox';

/** |actual − expected| ≤ absolute + relative·|expected|, element by element. */
export const Tolerance = Type.Object(
  { absolute: Type.Number({ minimum: 0 }), relative: Type.Number({ minimum: 0 }) },
  { additionalProperties: false },
);
export type Tolerance = Static<typeof Tolerance>;

/** NaN is within no tolerance of anything; an infinity only of itself. */
export function isWithin(actual: number, expected: number, { absolute, relative }: Tolerance): boolean {
  if (actual === expected) return true;
  return Number.isFinite(actual) && Math.abs(actual - expected) <= absolute + relative * Math.abs(expected);
}
