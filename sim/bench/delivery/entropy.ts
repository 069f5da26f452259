import type { Network } from './payload.js';

/**
 * The share of the bits that a change by (1 + ε), ε normal with standard deviation σ, must take: per weight of mantissa m the entropy of a normal number of
 * units in the last place with standard deviation m·σ·2²³ (Cover & Thomas, "Elements of Information Theory", theorem 8.3.1), averaged over the weights.
 */
export function entropyShare({ layers, head }: Network, sigma: number): number {
  let bits = 0;
  let count = 0;
  for (const weights of [...layers, head]) {
    for (const weight of weights) {
      const size = Math.abs(weight);
      if (size === 0) continue;
      const mantissa = size / 2 ** Math.floor(Math.log2(size));
      bits += Math.log2(mantissa * sigma * 2 ** 23 * Math.sqrt(2 * Math.PI * Math.E));
      count += 1;
    }
  }
  return bits / count / 32;
}
