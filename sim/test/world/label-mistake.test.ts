import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { corruptLabels, swapLabels, type Examples } from '../../src/world/index.js';

const examples = fc.array(fc.nat(5), { minLength: 1, maxLength: 60 }).map((labels): Examples => {
  const features = Float32Array.from(labels, (_, row) => row / 8);
  return { features, labels: Int32Array.from(labels), count: labels.length, width: 1 };
});

describe('when two classes change places in the labels', () => {
  it('exactly their rows change, and a second swap undoes the first', () => {
    fc.assert(
      fc.property(examples, fc.nat(5), fc.nat(5), (set, a, b) => {
        const original = set.labels.slice();
        const swapped = swapLabels(set, a, b);
        expect(set.labels).toEqual(original);
        expect(swapped.features).toEqual(set.features);
        expect(swapLabels(swapped, a, b)).toEqual(set);
        const changed = swapped.labels.filter((label, row) => label !== original[row]).length;
        expect(changed).toBe(a === b ? 0 : original.filter((label) => label === a || label === b).length);
      }),
    );
  });
});

describe('when labels are corrupted', () => {
  it('the share asked for changes to other classes in range, the same for the same seed', () => {
    fc.assert(
      fc.property(examples, fc.double({ min: 0, max: 1, noNaN: true }), fc.integer(), (set, share, seed) => {
        const corrupted = corruptLabels(set, { share, classes: 6, seed });
        const changed = corrupted.labels.filter((label, row) => label !== set.labels[row]).length;
        expect(changed).toBe(Math.round(share * set.count));
        expect(corrupted.labels.every((label) => label >= 0 && label < 6)).toBe(true);
        expect(corruptLabels(set, { share, classes: 6, seed })).toEqual(corrupted);
      }),
    );
  });

  it('a share above 1 is refused', () => {
    const set: Examples = { features: new Float32Array(1), labels: new Int32Array(1), count: 1, width: 1 };
    expect(() => corruptLabels(set, { share: 1.1, classes: 6, seed: 1 })).toThrow(
      expect.objectContaining({ code: 'WORLD_ARGUMENT' }),
    );
  });
});
