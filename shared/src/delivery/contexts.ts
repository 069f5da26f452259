import type { ElementType } from './element-type.js';

/** The context of each number, and how many there are. Both sides come to the same from what they have. */
export interface Contexts {
  readonly of: Uint16Array;
  readonly count: number;
}

/**
 * What a base element tells about the size of its change; the persisted number is the position. A change that is relative to the weight depends on
 * the mantissa, one that is absolute (Adam) on the exponent.
 */
export const CONTEXT_MODES = ['none', 'exponent', 'exponent-and-half', 'mantissa'] as const;
export type ContextMode = (typeof CONTEXT_MODES)[number];

/** Bits of the exponent and of the mantissa (IEEE 754; bfloat16 is the upper half of a float32). An `int8` counts by its upper bits. */
const FORMATS: Readonly<Record<ElementType, { exponent: number; mantissa: number }>> = {
  bytes: { exponent: 0, mantissa: 8 },
  int8: { exponent: 3, mantissa: 5 },
  float32: { exponent: 8, mantissa: 23 },
  float16: { exponent: 5, mantissa: 10 },
  bfloat16: { exponent: 8, mantissa: 7 },
};

export function baseContexts(base: Uint32Array, type: ElementType, mode: ContextMode): Contexts {
  const { exponent, mantissa } = FORMATS[type];
  const take = (shift: number, bits: number): Contexts => {
    const of = new Uint16Array(base.length);
    const mask = (1 << bits) - 1;
    for (let index = 0; index < base.length; index++) of[index] = ((base[index] ?? 0) >>> shift) & mask;
    return { of, count: 1 << bits };
  };
  switch (mode) {
    case 'none':
      return { of: new Uint16Array(base.length), count: 1 };
    case 'exponent':
      return take(mantissa, exponent);
    case 'exponent-and-half':
      return take(mantissa - 1, exponent + 1);
    case 'mantissa':
      return take(mantissa - 3, 3);
  }
}

/** A context with fewer numbers does not earn the bytes of a table. */
export const MIN_CONTEXT = 1024;

/** Puts the rare contexts together. Deterministic, and therefore never sent. */
export function mergeRare({ of, count }: Contexts, minContext = MIN_CONTEXT): Contexts {
  if (count === 1) return { of, count };
  const sizes = new Uint32Array(count);
  for (let index = 0; index < of.length; index++) sizes[of[index] ?? 0] = (sizes[of[index] ?? 0] ?? 0) + 1;
  const renumbered = new Uint16Array(count);
  let next = 1;
  for (const [context, size] of sizes.entries()) if (size >= minContext) renumbered[context] = next++;
  const merged = new Uint16Array(of.length);
  for (let index = 0; index < of.length; index++) merged[index] = renumbered[of[index] ?? 0] ?? 0;
  return { of: merged, count: next };
}
