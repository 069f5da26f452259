import type { CompiledRule, Test } from './compile.js';

/** Between which numbers every value lies that no rule about ranges or missing values has anything against: one pair for each column, or one for all. */
export interface Bounds {
  readonly low: Float64Array;
  readonly high: Float64Array;
}

/** Rules that hold for whatever lies within the bounds. */
export const isBounded = ({ kind }: Test): boolean => kind === 'range' || kind === 'present';

/** @param width of a row, where it is known: the rules may be about single columns */
export function boundsOf(rules: readonly CompiledRule[], width: number | undefined): Bounds | undefined {
  const hasColumns = rules.some(({ column }) => column >= 0);
  if (!rules.some((rule) => rule.isBounded) || (hasColumns && width === undefined)) return undefined;
  const columns = hasColumns ? (width ?? 1) : 1;
  const low = new Float64Array(columns).fill(-Infinity);
  const high = new Float64Array(columns).fill(Infinity);
  for (const { column, test } of rules) {
    if (test.kind !== 'range') continue;
    for (let at = Math.max(0, column); at < (column < 0 ? columns : column + 1); at++) {
      low[at] = Math.max(low[at] as number, test.low);
      high[at] = Math.min(high[at] as number, test.high);
    }
  }
  return { low, high };
}

/**
 * One pass over all values, which is all that most requests cost. Written so that NaN, for which every comparison is false, lies beyond any bounds.
 *
 * @param beyond gets 1 for each column with a value beyond its bounds; without columns, nothing
 */
export function areWithin(values: ArrayLike<number>, { low, high }: Bounds, beyond: Uint8Array): boolean {
  const columns = low.length;
  const count = values.length;
  if (columns === 1) {
    const least = low[0] as number;
    const most = high[0] as number;
    for (let place = 0; place < count; place++) {
      const value = values[place] as number;
      if (!(value >= least && value <= most)) return false;
    }
    return true;
  }
  let isWithin = true;
  for (let start = 0; start < count; start += columns) {
    for (let column = 0; column < columns; column++) {
      const value = values[start + column] as number;
      if (value >= (low[column] as number) && value <= (high[column] as number)) continue;
      beyond[column] = 1;
      isWithin = false;
    }
  }
  return isWithin;
}
