import { describe, expect, it } from 'vitest';
import type { Segmentation, Task } from '../../src/task/index.js';
import { compare, decode, floats, integers, reference } from './answers.js';

const segmenter = (segmentation: Omit<Segmentation, 'output'>): Task => ({
  type: 'segmentation',
  segmentation: { output: 'pixels', ...segmentation },
});
const masks = segmenter({ holds: 'classes' });

describe('when pixels are decoded', () => {
  it('finds the class with the highest score, wherever the axis of classes stands', () => {
    const expected = { kind: 'segmentation', classes: Int32Array.of(1, 0, 2, 0), shape: [2, 1, 2] };
    // Two images of one by two pixels, three classes.
    const first = [0, 9, 9, 0, 0, 0, 0, 5, 0, 0, 5, 1];
    const last = [0, 9, 0, 9, 0, 0, 0, 0, 5, 5, 0, 1];
    expect(decode(segmenter({ holds: 'scores' }), { pixels: floats([2, 3, 1, 2], first) })).toEqual(expected);
    expect(decode(segmenter({ holds: 'scores', channels: 'last' }), { pixels: floats([2, 1, 2, 3], last) })).toEqual(
      expected,
    );
  });

  it('holds a single score against the threshold', () => {
    const decoded = decode(segmenter({ holds: 'scores', threshold: 0.5 }), {
      pixels: floats([1, 1, 4], [0.5, 0.75, NaN, -1]),
    });
    expect(decoded).toMatchObject({ classes: Int32Array.of(0, 1, -1, 0), shape: [1, 4] });
  });

  it('reads indices of classes, and gives what is none no class', () => {
    expect(decode(masks, { pixels: integers([2, 2], [0, 3, -1, 1]) })).toMatchObject({
      classes: Int32Array.of(0, 3, -1, 1),
    });
  });
});

describe('when pixels are compared', () => {
  it('gives the mean IoU that scikit-learn gives', () => {
    for (const { expected, actual, meanIou } of reference.pixels) {
      const [left, right] = [integers([1, 5, 6], expected), integers([1, 5, 6], actual)];
      expect(compare(masks, { pixels: left }, { pixels: right }).value).toBeCloseTo(meanIou, 12);
    }
  });

  it('counts a pixel without a class, and images of another size, as agreeing with nothing', () => {
    const half = { pixels: integers([1, 2], [0, -1]) };
    expect(compare(masks, half, half)).toMatchObject({ value: 0.5, compared: 2, details: { samePixels: 0.5 } });
    const turned = { pixels: integers([2, 1], [0, 0]) };
    expect(compare(masks, { pixels: integers([1, 2], [0, 0]) }, turned).value).toBe(0);
  });
});
