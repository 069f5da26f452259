import { describe, expect, it } from 'vitest';
import { StatisticsError, seededRandom } from '../../src/statistics/index.js';
import { xoshiro128StarStar } from '../../src/statistics/random.js';

describe('when numbers are drawn from a seeded generator', () => {
  it('follows the reference xoshiro128** (state 1, 2, 3, 4, as in the C source and in rand_xoshiro)', () => {
    const state = Uint32Array.of(1, 2, 3, 4);
    const drawn = Array.from({ length: 10 }, () => xoshiro128StarStar(state));
    expect(drawn).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  it('is filled by splitmix32 (vector from a C program of both, seed 42)', () => {
    const random = seededRandom(42);
    const drawn = Array.from({ length: 8 }, () => random.next() * 2 ** 32);
    expect(drawn).toEqual([660444221, 3652823732, 77672526, 910233633, 2297337756, 3786072677, 3123505064, 1891482476]);
  });

  it('forks by label, whatever was drawn before', () => {
    const fresh = seededRandom(7);
    const used = seededRandom(7);
    used.normal();
    expect(used.fork('device 1').next()).toBe(fresh.fork('device 1').next());
    expect(fresh.fork('device 1').next()).not.toBe(fresh.fork('device 2').next());
    expect(fresh.fork('device 1').next()).not.toBe(seededRandom(8).fork('device 1').next());
  });

  it('draws normal numbers with the moments of a standard normal', () => {
    const random = seededRandom(1);
    const sample = Array.from({ length: 100_000 }, () => random.normal());
    const moment = (power: number): number => sample.reduce((sum, x) => sum + x ** power, 0) / sample.length;
    // Five standard errors: √(1/n), √(2/n), √(15/n), √(96/n).
    expect(Math.abs(moment(1))).toBeLessThan(0.016);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.023);
    expect(Math.abs(moment(3))).toBeLessThan(0.062);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.155);
  });

  it('draws every integer below n equally often', () => {
    const random = seededRandom(3);
    const counts = new Array<number>(6).fill(0);
    for (let draw = 0; draw < 60_000; draw++) {
      const drawn = random.nextInt(6);
      counts[drawn] = (counts[drawn] ?? 0) + 1;
    }
    const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquare).toBeLessThan(20.5); // 99.9 % of chi-square with 5 degrees of freedom
  });

  it('shuffles a copy, each order equally often', () => {
    const random = seededRandom(4);
    const original = [1, 2, 3];
    const counts = new Map<string, number>();
    for (let draw = 0; draw < 6000; draw++) {
      const order = random.shuffle(original).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(original).toEqual([1, 2, 3]);
    expect([...counts.keys()].sort()).toEqual(['123', '132', '213', '231', '312', '321']);
    expect([...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(20.5);
  });

  it('refuses seeds and ranges that are no integers', () => {
    expect(() => seededRandom(0.5)).toThrow(StatisticsError);
    expect(() => seededRandom(1).nextInt(0)).toThrow(StatisticsError);
    expect(() => seededRandom(1).nextInt(2.5)).toThrow(StatisticsError);
  });
});
