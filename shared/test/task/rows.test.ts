import { describe, expect, it } from 'vitest';
import { toFloat16 } from '../../src/tensors/index.js';
import type { Task } from '../../src/task/index.js';
import { classifier, compare, decode, floats, integers, reference } from './answers.js';

describe('when scores of classes are decoded', () => {
  it('gives the probabilities that scipy gives to logits', () => {
    for (const { logits, probabilities } of reference.scores) {
      const decoded = decode(classifier, { scores: floats([3, 5], logits.flat()) });
      if (decoded.kind !== 'classification') throw new Error(decoded.kind);
      // The logits are rounded to 32 bits here.
      probabilities.flat().forEach((each, index) => expect(decoded.probabilities[index]).toBeCloseTo(each, 6));
    }
  });

  it('takes a distribution as it is, and the first of equal scores', () => {
    expect(decode(classifier, { scores: floats([2, 2], [0.25, 0.75, 0.5, 0.5]) })).toEqual({
      kind: 'classification',
      classes: Int32Array.of(1, 0),
      probabilities: Float64Array.of(0.25, 0.75, 0.5, 0.5),
      width: 2,
    });
  });

  it('finds the classes of image classifiers, whose scores end in axes of one', () => {
    const decoded = decode(classifier, { scores: floats([2, 3, 1, 1], [0, 9, 0, 9, 0, 0]) });
    expect(decoded).toMatchObject({ classes: Int32Array.of(1, 0), width: 3 });
  });

  it('reads FP16', () => {
    const data = Uint16Array.from([0.25, 0.75], toFloat16);
    const decoded = decode(classifier, { scores: { datatype: 'FP16', shape: [1, 2], data } });
    expect(decoded).toMatchObject({ classes: Int32Array.of(1), probabilities: Float64Array.of(0.25, 0.75) });
  });

  it('gives a row with a score that is no number no class, which agrees with nothing', () => {
    const broken = { scores: floats([2, 2], [NaN, 1, 0, 1]) };
    expect(decode(classifier, broken)).toMatchObject({ classes: Int32Array.of(-1, 1) });
    expect(compare(classifier, broken, broken)).toMatchObject({
      value: 0.5,
      compared: 2,
      beyondTolerance: 1,
      largestDifference: Infinity,
    });
  });
});

describe('when classes are compared', () => {
  it('counts the rows with the same one, and by how much probabilities differ', () => {
    const expected = { scores: floats([2, 2], [0.75, 0.25, 0.5, 0.5]) };
    const actual = { scores: floats([2, 2], [0.25, 0.75, 0.625, 0.375]) };
    expect(compare(classifier, expected, actual, { absolute: 0.2, relative: 0 })).toEqual({
      measure: 'same-class',
      value: 0.5,
      compared: 2,
      beyondTolerance: 1,
      largestDifference: 0.5,
      details: {},
    });
  });

  it('counts rows that only one side has as different', () => {
    const [one, two] = [{ scores: floats([1, 2], [0, 1]) }, { scores: floats([2, 2], [0, 1, 0, 1]) }];
    expect(compare(classifier, one, two)).toMatchObject({ value: 0.5, compared: 2, beyondTolerance: 1 });
  });
});

describe('when values are decoded', () => {
  const task: Task = { type: 'regression', regression: { outputs: ['low', 'high'], unit: '°C', scale: 0.5 } };

  it('gives them in the unit of the task, integers too', () => {
    expect(decode(task, { low: floats([2, 1], [1, -4]), high: integers([2], [6, 8]) })).toEqual({
      kind: 'regression',
      values: Float64Array.of(0.5, -2, 3, 4),
    });
  });

  it('compares them by the tolerance, absolute and relative, in that unit', () => {
    const answer = (low: number, high: number) => ({ low: floats([1], [low]), high: floats([1], [high]) });
    const tolerance = { absolute: 0.5, relative: 0.125 };
    // 0.5 in the unit is allowed of 0, and 0.5 + 0.125 · 8 of 8.
    expect(compare(task, answer(0, 16), answer(1, 13), tolerance)).toMatchObject({ value: 1, largestDifference: 1.5 });
    expect(compare(task, answer(0, 16), answer(1.5, 12), tolerance)).toMatchObject({ value: 0, beyondTolerance: 2 });
    expect(compare(task, answer(0, 0), answer(NaN, 0), tolerance)).toMatchObject({ value: 0.5, compared: 2 });
  });
});

describe('when anomalies are decoded', () => {
  const task = (anomalous: 'above' | 'below'): Task => ({
    type: 'anomaly',
    anomaly: { score: 's', threshold: 1, anomalous },
  });
  const answer = { s: floats([4, 1], [0, 1, 2, NaN]) };

  it('knows them by the side of the threshold that the task names; the threshold itself is normal', () => {
    expect(decode(task('above'), answer)).toMatchObject({ anomalous: Uint8Array.of(0, 0, 1, 0) });
    expect(decode(task('below'), answer)).toMatchObject({ anomalous: Uint8Array.of(1, 0, 0, 0) });
  });

  it('counts the rows on the same side, none of which is no number', () => {
    const other = { s: floats([4, 1], [0.5, 1.25, 3, NaN]) };
    expect(compare(task('above'), answer, other, { absolute: 0.5, relative: 0 })).toEqual({
      measure: 'same-side',
      value: 0.5,
      compared: 4,
      beyondTolerance: 2,
      largestDifference: Infinity,
      details: {},
    });
  });
});

describe('when plain tensors are compared', () => {
  const task: Task = { type: 'tensors' };
  const text = (...data: string[]) => ({ datatype: 'BYTES', shape: [data.length], data }) as const;

  it('counts elements, of strings those that are equal', () => {
    const expected = { y: floats([2], [1, 2]), label: text('a', 'b') };
    const actual = { y: floats([2], [1, 2.5]), label: text('a', 'c') };
    expect(compare(task, expected, actual)).toMatchObject({ value: 0.5, compared: 4, beyondTolerance: 2 });
  });

  it('lets nothing agree in an output of another shape, or that one side lacks', () => {
    expect(compare(task, { y: floats([2], [1, 2]) }, { y: floats([1, 2], [1, 2]) })).toMatchObject({ value: 0 });
    expect(compare(task, { y: floats([2], [1, 2]) }, { z: floats([3], [1, 2, 3]) })).toMatchObject({
      value: 0,
      compared: 5,
    });
  });
});
