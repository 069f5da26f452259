import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MIN_OVERLAP, overlap, type DetectedBox, type Detection, type Task } from '../../src/task/index.js';
import type { TensorMap } from '../../src/tensors/index.js';
import { boxAnswer, boxes, compare, decode, detector, floats, integers, reference } from './answers.js';

const detectorWith = (detection: Partial<Detection>): Task => ({
  ...detector,
  detection: { ...detector.detection, ...detection },
});
const imagesOf = (task: Task, answer: TensorMap): readonly (readonly DetectedBox[])[] => {
  const decoded = decode(task, answer);
  if (decoded.kind !== 'detection') throw new Error(decoded.kind);
  return decoded.images;
};
const found = (task: Task, answer: TensorMap) => imagesOf(task, answer)[0] ?? [];

describe('when boxes are decoded', () => {
  it.each<[Detection['format'], number[]]>([
    ['xyxy', [1, 2, 5, 4]],
    ['yxyx', [2, 1, 4, 5]],
    ['xywh', [1, 2, 4, 2]],
    ['cxcywh', [3, 3, 4, 2]],
  ])('gives the corners of %s', (format, numbers) => {
    const answer = { boxes: floats([1, 4], numbers), scores: floats([1, 1], [1]) };
    expect(found(detectorWith({ format }), answer)).toEqual([{ x1: 1, y1: 2, x2: 5, y2: 4, score: 1, class: 0 }]);
  });

  it('keeps those that reach the threshold for a class, by falling score, and not the background', () => {
    const answer = {
      boxes: floats([1, 3, 4], [0, 0, 1, 1, 0, 0, 2, 2, 0, 0, 3, 3]),
      scores: floats([1, 3, 2], [0.75, 0.5, 0.25, 0.75, 0.5, 0.25]),
    };
    const kept = found(detectorWith({ background: 0, scoreThreshold: 0.5 }), answer);
    expect(kept.map(({ x2, score, class: kind }) => [x2, score, kind])).toEqual([
      [2, 0.75, 1],
      [1, 0.5, 1],
    ]);
  });

  it('leaves out what covers nothing or is no number', () => {
    const answer = {
      boxes: floats(
        [5, 4],
        [
          [0, 0, 0, 1],
          [1, 1, 0, 0],
          [0, NaN, 1, 1],
          [0, 0, Infinity, 1],
          [0, 0, 1, 1],
        ].flat(),
      ),
      scores: floats([5], [1, 1, 1, 1, NaN]),
    };
    expect(found(detector, answer)).toEqual([]);
  });

  it('reads classes from an output of their own, and only as many boxes of each image as it counts', () => {
    const task = detectorWith({ classes: 'kinds', count: 'count' });
    const answer = {
      boxes: floats([2, 2, 4], [0, 0, 1, 1, 0, 0, 2, 2, 0, 0, 3, 3, 0, 0, 4, 4]),
      scores: floats([2, 2], [1, 1, 1, 1]),
      kinds: integers([2, 2], [7, 8, 9, 10]),
      count: integers([2, 1], [1, 2]),
    };
    expect(imagesOf(task, answer).map((image) => image.map(({ class: kind }) => kind))).toEqual([[7], [9, 10]]);
  });

  it('keeps no two of a class that overlap by more than allowed, and none stronger is left out', () => {
    fc.assert(
      fc.property(
        boxes,
        fc.constantFrom(0, 0.3, 0.5),
        fc.integer({ min: 1, max: 6 }),
        (given, maxOverlap, maxBoxes) => {
          const answer = {
            ...boxAnswer(given),
            scores: floats(
              [1, given.length, 1],
              given.map((_, index) => (index * 7) % 5),
            ),
          };
          const kept = found(detectorWith({ maxOverlap, maxBoxes }), answer);
          const all = found(detector, answer);
          const isKept = (box: DetectedBox) => kept.some((each) => overlap(each, box) === 1 && each.score >= box.score);
          kept.forEach((box, index) =>
            kept.slice(index + 1).forEach((each) => expect(overlap(box, each)).toBeLessThanOrEqual(maxOverlap)),
          );
          if (kept.length === maxBoxes) return;
          for (const box of all.filter((each) => !isKept(each)))
            expect(kept.some((each) => each.score >= box.score && overlap(each, box) > maxOverlap)).toBe(true);
        },
      ),
    );
  });
});

describe('when boxes are compared', () => {
  it('finds as many pairs as scipy', () => {
    for (const { expected, actual, matched } of reference.boxes) {
      const { details, value } = compare(detector, boxAnswer(expected), boxAnswer(actual));
      expect(details).toMatchObject({ matched, expected: expected.length, actual: actual.length });
      expect(value).toBeCloseTo((2 * matched) / (expected.length + actual.length), 12);
    }
  });

  it('does not mind their order', () => {
    fc.assert(
      fc.property(boxes, boxes, (left, right) => {
        const { value } = compare(detector, boxAnswer(left), boxAnswer(right));
        expect(compare(detector, boxAnswer(left), boxAnswer([...right].reverse())).value).toBe(value);
      }),
    );
  });

  it('matches from the stated overlap on, within a class, and says how scores differ', () => {
    const expected = boxAnswer([[0, 0, 4, 4, 0]], 0.5);
    const half = boxAnswer([[0, 0, 4, 2, 0]], 0.75);
    expect(MIN_OVERLAP).toBe(0.5);
    expect(compare(detector, expected, half)).toEqual({
      measure: 'box-f1',
      value: 1,
      compared: 2,
      beyondTolerance: 1,
      largestDifference: 0.25,
      details: { expected: 1, actual: 1, matched: 1, meanIou: 0.5 },
    });
    expect(compare(detector, expected, boxAnswer([[0, 0, 3.9, 2, 0]], 0.75)).value).toBe(0);
    expect(compare(detector, expected, boxAnswer([[0, 0, 4, 4, 1]], 0.5)).value).toBe(0);
  });
});

describe('when two boxes are held against each other', () => {
  it('gives the same overlap at any scale of either axis', () => {
    fc.assert(
      fc.property(boxes, fc.constantFrom(0.25, 2, 320), fc.constantFrom(0.5, 4, 240), (given, scaleX, scaleY) => {
        const [one, other] = found(detector, boxAnswer(given));
        if (!one || !other) return;
        const scaled = (box: DetectedBox) => ({
          x1: box.x1 * scaleX,
          x2: box.x2 * scaleX,
          y1: box.y1 * scaleY,
          y2: box.y2 * scaleY,
        });
        expect(overlap(scaled(one), scaled(other))).toBeCloseTo(overlap(one, other), 12);
      }),
    );
  });
});
