import fc from 'fast-check';
import { expect, it } from 'vitest';
import { standardization } from '../../src/learn/index.js';

it('when features are far from zero, or never vary, mean and scale stay exact', () => {
  const facts = standardization(Float32Array.of(15_000, 2, 7, 15_002, 4, 7, 15_004, 12, 7), 3);
  expect([...facts.mean]).toEqual([15_002, 6, 7]);
  expect(facts.scale[0]).toBeCloseTo(Math.sqrt(8 / 3), 6);
  expect(facts.scale[1]).toBeCloseTo(Math.sqrt(56 / 3), 6);
  expect(facts.scale[2]).toBe(1);
});

it('when a feature has one value in every row, whichever and however often, its scale is 1', () => {
  // + 0 turns −0, which toEqual tells from 0, into 0.
  fc.assert(
    fc.property(
      fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
      fc.integer({ min: 1, max: 300 }),
      (value, count) => {
        const { mean, scale } = standardization(new Float32Array(count).fill(value), 1);
        expect([mean[0], scale[0]]).toEqual([Math.fround(value), 1]);
      },
    ),
  );
});
