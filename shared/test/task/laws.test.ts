import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agreement, pooled, TaskError, type Task } from '../../src/task/index.js';
import type { TensorMap } from '../../src/tensors/index.js';
import { boxAnswer, boxes, classifier, compare, decode, detector, EXACT, floats, integers } from './answers.js';

const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -50, max: 50 });
const rows = (width: number) =>
  fc.array(fc.array(number, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 8 });

/** A task of each kind, and its answers. */
const KINDS: readonly (readonly [Task['type'], Task, fc.Arbitrary<TensorMap>])[] = [
  ['classification', classifier, rows(3).map((each) => ({ scores: floats([each.length, 3], each.flat()) }))],
  [
    'regression',
    { type: 'regression', regression: { outputs: ['y'], unit: 'kPa', scale: 0.5 } },
    rows(2).map((each) => ({ y: floats([each.length, 2], each.flat()) })),
  ],
  ['detection', detector, boxes.map((each) => boxAnswer(each))],
  [
    'segmentation',
    { type: 'segmentation', segmentation: { output: 'mask', holds: 'classes' } },
    fc.array(fc.nat(3), { minLength: 6, maxLength: 6 }).map((each) => ({ mask: integers([1, 2, 3], each) })),
  ],
  [
    'anomaly',
    { type: 'anomaly', anomaly: { score: 's', threshold: 1, anomalous: 'below' } },
    rows(1).map((each) => ({ s: floats([each.length], each.flat()) })),
  ],
  ['tensors', { type: 'tensors' }, rows(2).map((each) => ({ y: floats([each.length, 2], each.flat()) }))],
];

describe.each(KINDS)('when two answers to a %s are compared', (_, task, answers) => {
  it('finds that an answer agrees wholly with itself', () => {
    fc.assert(
      fc.property(answers, (answer) => {
        expect(compare(task, answer, answer)).toMatchObject({ value: 1, beyondTolerance: 0, largestDifference: 0 });
      }),
    );
  });

  it('gives a share, the same whichever of the two is expected', () => {
    fc.assert(
      fc.property(answers, answers, (left, right) => {
        const { value, compared } = compare(task, left, right);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThanOrEqual(1);
        const turned = compare(task, right, left);
        expect(turned.compared).toBe(compared);
        expect(turned.value).toBeCloseTo(value, 12);
      }),
    );
  });

  it('never agrees less where more is tolerated', () => {
    fc.assert(
      fc.property(answers, answers, fc.nat(20), (left, right, absolute) => {
        const strict = compare(task, left, right);
        const lenient = compare(task, left, right, { absolute, relative: 0 });
        expect(lenient.value).toBeGreaterThanOrEqual(strict.value);
        expect(lenient.beyondTolerance).toBeLessThanOrEqual(strict.beyondTolerance);
      }),
    );
  });
});

describe('when several agreements are taken together', () => {
  it('gives the F1 of all boxes of all images', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(boxes, boxes), { minLength: 1, maxLength: 4 }), (pairs) => {
        const each = pairs.map(([left, right]) => compare(detector, boxAnswer(left), boxAnswer(right)));
        const images = (side: 0 | 1) =>
          pairs.flatMap((pair) => {
            const decoded = decode(detector, boxAnswer(pair[side]));
            return decoded.kind === 'detection' ? decoded.images : [];
          });
        const together = agreement(
          { kind: 'detection', images: images(0) },
          { kind: 'detection', images: images(1) },
          { tolerance: EXACT },
        );
        expect(pooled(each).value).toBeCloseTo(together.value, 12);
        expect(pooled(each)).toMatchObject({
          compared: together.compared,
          beyondTolerance: together.beyondTolerance,
          largestDifference: together.largestDifference,
        });
      }),
    );
  });

  it('finds no disagreement where nothing was compared', () => {
    expect(pooled([])).toEqual({ value: 1, compared: 0, beyondTolerance: 0, largestDifference: 0 });
  });
});

it('when answers of different tasks are compared, it says that they have no measure in common', () => {
  const scores = { scores: floats([1, 2], [0.5, 0.5]) };
  expect(() =>
    agreement(decode(classifier, scores), decode({ type: 'tensors' }, scores), { tolerance: EXACT }),
  ).toThrow(TaskError);
});
