import type { Test } from './compile.js';

/** All values hold. */
export const NONE = -1;
/** All values are missing, and the rule is about something else. */
export const NO_VALUES = -2;
/** Of a value that the request does not even have. */
export const NOWHERE = -3;

export type Values = ArrayLike<number> | readonly string[];

export const absent = ({ kind }: Test): number => (kind === 'present' ? NOWHERE : NO_VALUES);

/** @returns its place; NONE where all values hold, NO_VALUES where all are missing and the rule is about something else */
export function firstBreach(test: Test, values: Values, from: number, to: number): number {
  switch (test.kind) {
    case 'range':
      return firstBeyond(test.low, test.high, values as ArrayLike<number>, from, to);
    case 'numbers':
      return firstOther(test.values, values as ArrayLike<number>, from, to);
    case 'strings':
      return firstOtherText(test.values, values as readonly string[], from, to);
    case 'whole':
      return firstBroken(values as ArrayLike<number>, from, to);
    case 'present':
      return firstMissing(values, from, to);
  }
}

// One loop for each kind of test, so that none of them calls anything for a value. NaN alone differs from itself.

function firstBeyond(low: number, high: number, values: ArrayLike<number>, from: number, to: number): number {
  let outcome = NO_VALUES;
  for (let place = from; place < to; place++) {
    const value = values[place] as number;
    if (value >= low && value <= high) outcome = NONE;
    else if (value === value) return place;
  }
  return outcome;
}

function firstOther(allowed: Float64Array, values: ArrayLike<number>, from: number, to: number): number {
  let outcome = NO_VALUES;
  for (let place = from; place < to; place++) {
    const value = values[place] as number;
    if (value !== value) continue;
    if (!isAmong(allowed, value)) return place;
    outcome = NONE;
  }
  return outcome;
}

function isAmong(sorted: Float64Array, value: number): boolean {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low < sorted.length && sorted[low] === value;
}

function firstOtherText(allowed: ReadonlySet<string>, values: readonly string[], from: number, to: number): number {
  let outcome = NO_VALUES;
  for (let place = from; place < to; place++) {
    const value = values[place] ?? '';
    if (value === '') continue;
    if (!allowed.has(value)) return place;
    outcome = NONE;
  }
  return outcome;
}

function firstBroken(values: ArrayLike<number>, from: number, to: number): number {
  let outcome = NO_VALUES;
  for (let place = from; place < to; place++) {
    const value = values[place] as number;
    // An infinite number less itself is NaN.
    if (value - Math.floor(value) === 0) outcome = NONE;
    else if (value === value) return place;
  }
  return outcome;
}

function firstMissing(values: Values, from: number, to: number): number {
  for (let place = from; place < to; place++) {
    const value = values[place];
    if (value === '' || value !== value) return place;
  }
  return NONE;
}
