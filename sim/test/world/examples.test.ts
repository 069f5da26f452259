import { expect, it } from 'vitest';
import { standardization, standardize, type Examples } from '../../src/world/index.js';

it('when features are standardized by their own statistics, each has mean 0 and deviation 1, and constant ones become 0', () => {
  const examples: Examples = {
    features: Float32Array.of(15_000, 2, 7, 15_002, 4, 7, 15_004, 12, 7),
    labels: Int32Array.of(0, 1, 0),
    count: 3,
    width: 3,
  };
  const facts = standardization(examples);
  expect([...facts.mean]).toEqual([15_002, 6, 7]);
  expect(facts.scale[0]).toBeCloseTo(Math.sqrt(8 / 3), 6);
  expect(facts.scale[1]).toBeCloseTo(Math.sqrt(56 / 3), 6);
  expect(facts.scale[2]).toBe(1);
  const again = standardization(standardize(examples, facts));
  for (const column of [0, 1, 2]) expect(again.mean[column]).toBeCloseTo(0, 6);
  for (const column of [0, 1, 2]) expect(again.scale[column]).toBeCloseTo(1, 5);
  expect([2, 5, 8].map((cell) => standardize(examples, facts).features[cell])).toEqual([0, 0, 0]);
});
