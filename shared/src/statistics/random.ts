import { StatisticsError } from './errors.js';

/** A repeatable source of randomness: the same seed gives the same sequence on every machine and Node version. Never for secrets. */
export interface SeededRandom {
  /** Uniform in [0, 1), a multiple of 2⁻³². */
  next(): number;
  /** Uniform integer in [0, n), n an integer from 1 to 2³². */
  nextInt(n: number): number;
  /** Standard normal: mean 0, standard deviation 1. */
  normal(): number;
  /** An independent generator named by `label`. It depends on this generator's seed alone, not on how many numbers were drawn from it. */
  fork(label: string): SeededRandom;
  /** A shuffled copy (Fisher–Yates, Durstenfeld 1964); the argument stays as it is. */
  shuffle<T>(array: readonly T[]): T[];
}

/**
 * xoshiro128** 1.1 (Blackman & Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM TOMS 2021; https://prng.di.unimi.it/xoshiro128starstar.c),
 * its state filled by splitmix32 (the 32-bit SplitMix: golden-ratio increments through the lowbias32 family of finalizers) as the authors recommend.
 *
 * @param seed an integer; only its low 32 bits count.
 */
export function seededRandom(seed: number): SeededRandom {
  if (!Number.isSafeInteger(seed)) {
    throw new StatisticsError('STATISTICS_ARGUMENT', `A seed must be an integer, not ${seed}.`, {
      remedy: 'Give an integer seed.',
    });
  }
  const state = splitmix32(seed, 4);
  let spareNormal: number | undefined;

  const nextUint32 = (): number => xoshiro128StarStar(state);
  const next = (): number => nextUint32() / 2 ** 32;

  const nextInt = (n: number): number => {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new StatisticsError('STATISTICS_ARGUMENT', `nextInt needs an integer from 1 to 2^32, not ${n}.`, {
        remedy: 'Give the number of choices.',
      });
    }
    // Reject the incomplete last block, or small results would come up more often than large ones.
    const limit = 2 ** 32 - (2 ** 32 % n);
    let drawn = nextUint32();
    while (drawn >= limit) drawn = nextUint32();
    return drawn % n;
  };

  /** Box–Muller 1958, both halves used. 1 − u lies in (0, 1], so that the logarithm is finite. */
  const normal = (): number => {
    if (spareNormal !== undefined) {
      const spare = spareNormal;
      spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };

  const shuffle = <T>(array: readonly T[]): T[] => {
    const shuffled = [...array];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const chosen = nextInt(last + 1);
      [shuffled[last], shuffled[chosen]] = [shuffled[chosen] as T, shuffled[last] as T];
    }
    return shuffled;
  };

  return { next, nextInt, normal, shuffle, fork: (label) => seededRandom(fnv1a(label, seed >>> 0)) };
}

/** One step; returns a uint32 and advances the four words of `state`. */
export function xoshiro128StarStar(state: Uint32Array): number {
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = state;
  const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
  const t2 = s2 ^ s0;
  const t3 = s3 ^ s1;
  state[1] = s1 ^ t2;
  state[0] = s0 ^ t3;
  state[2] = t2 ^ (s1 << 9);
  state[3] = rotateLeft(t3, 11);
  return result;
}

const rotateLeft = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits));

/** Never all zero for four words (the finalizer is a bijection of distinct counters), which xoshiro could not leave. */
function splitmix32(seed: number, words: number): Uint32Array {
  let counter = seed | 0;
  return Uint32Array.from({ length: words }, () => {
    counter = (counter + 0x9e3779b9) | 0;
    let mixed = Math.imul(counter ^ (counter >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  });
}

/** FNV-1a over the UTF-16 code units, started from `basis` so that forks of different seeds differ. */
function fnv1a(text: string, basis: number): number {
  let hash = 0x811c9dc5 ^ basis;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}
