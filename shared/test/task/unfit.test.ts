import { describe, expect, it } from 'vitest';
import { decoderFor, TaskError, type Detection, type Task } from '../../src/task/index.js';
import type { TensorMap, TensorSignature } from '../../src/tensors/index.js';
import { classifier, decode, detector, floats } from './answers.js';

const failure = (act: () => unknown): TaskError => {
  try {
    act();
  } catch (error) {
    if (error instanceof TaskError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};
const output = (name: string, shape: number[], datatype: TensorSignature['datatype'] = 'FP32'): TensorSignature => ({
  name,
  datatype,
  shape,
});
const detection = (more: Partial<Detection>, labels?: string[]): Task => ({
  ...detector,
  ...(labels && { labels }),
  detection: { ...detector.detection, ...more },
});
const segmentation = (more: object): Task => ({
  type: 'segmentation',
  segmentation: { output: 'm', holds: 'scores', ...more },
});
const anomaly = { score: 's', threshold: 0, anomalous: 'above' } as const;
const DETECTOR = [output('boxes', [1, 9, 4]), output('scores', [1, 9, 2])];

describe('when a decoder is made', () => {
  it.each<[string, Task, TensorSignature[], RegExp]>([
    ['scores that are not there', classifier, [output('y', [1, 2])], /no output "scores"; there are "y"/],
    ['scores that are whole numbers', classifier, [output('scores', [1, 2], 'INT64')], /is INT64/],
    ['labels that are too few', { ...classifier, labels: ['a', 'b'] }, [output('scores', [-1, 3])], /3 scores for 2/],
    ['a single class', { ...classifier, labels: ['a'] }, [output('scores', [-1, 1])], /one label/],
    ['another task', { type: 'tensors', anomaly }, [output('s', [1])], /is tensors, and says how a anomaly/],
    ['boxes of five numbers', detector, [output('boxes', [1, 9, 5]), output('scores', [1, 9])], /four numbers/],
    ['labels of other classes', detection({}, ['face']), DETECTOR, /2 scores for 1 labels/],
    ['a background that is no class', detection({ background: 2 }, ['no', 'yes']), DETECTOR, /class 2 of 2/],
    ['classes that are not there', detection({ classes: 'kind' }), DETECTOR, /no output "kind"/],
    ['pixels without classes', segmentation({}), [output('m', [9, 9])], /no axes/],
    ['one score for each pixel', segmentation({}), [output('m', [1, 1, 9, 9])], /no threshold/],
    ['text', { type: 'anomaly', anomaly }, [output('s', [1], 'BYTES')], /is BYTES/],
    ['values that are not there', { type: 'regression', regression: { outputs: ['y'] } }, [], /no output "y"/],
  ])('refuses %s', (_, task, signature, why) => {
    const { code, message } = failure(() => decoderFor(task, signature));
    expect(code).toBe('TASK_UNFIT');
    expect(message).toMatch(why);
  });

  it('accepts outputs whose shapes the file does not state', () => {
    const unknown = [output('boxes', [-1]), output('scores', [-1])];
    expect(decoderFor({ ...detector, labels: ['no', 'yes'] }, unknown).kind).toBe('detection');
    expect(decoderFor(segmentation({}), [output('m', [-1])]).kind).toBe('segmentation');
    expect(decoderFor({ ...classifier, labels: ['a', 'b'] }, [output('scores', [-1])]).kind).toBe('classification');
  });

  it('reads a task that does not say how as plain tensors', () => {
    expect(decoderFor({ type: 'classification' }, [output('y', [2])]).kind).toBe('tensors');
    expect(decoderFor({ type: 'detection' }, [output('y', [2])]).kind).toBe('tensors');
  });
});

describe('when an answer is decoded', () => {
  const open = [output('boxes', [-1]), output('scores', [-1]), output('m', [-1])];
  it.each<[string, Task, TensorMap, RegExp]>([
    ['an output is missing', classifier, {}, /did not answer/],
    ['it holds strings', classifier, { scores: { datatype: 'BYTES', shape: [1], data: ['a'] } }, /strings/],
    [
      'classes are more than labels',
      { ...classifier, labels: ['a', 'b'] },
      { scores: floats([1, 3], [1, 2, 3]) },
      /3 scores for 2/,
    ],
    [
      'boxes are not of four',
      detector,
      { boxes: floats([1, 5], [0, 0, 1, 1, 1]), scores: floats([1], [1]) },
      /four numbers/,
    ],
    [
      'scores stand class after class',
      detector,
      { boxes: floats([1, 2, 4], [0, 0, 1, 1, 0, 0, 1, 1]), scores: floats([1, 3, 2], [1, 1, 1, 1, 1, 1]) },
      /\[1, 3, 2\] for boxes of \[1, 2, 4\]/,
    ],
    ['pixels have no classes', segmentation({}), { m: floats([2, 2], [0, 0, 0, 0]) }, /shape is \[2, 2\]/],
    ['pixels have one score', segmentation({}), { m: floats([1, 2, 2], [0, 0, 0, 0]) }, /no threshold/],
  ])('says so where %s', (_, task, answer, why) => {
    const { code, message } = failure(() => decoderFor(task, open).decode(answer));
    expect(code).toBe('TASK_OUTPUT_UNFIT');
    expect(message).toMatch(why);
  });

  it('finds nothing in no images, and no rows in an empty batch', () => {
    const none = { boxes: floats([0, 9, 4], []), scores: floats([0, 9, 2], []) };
    expect(decode(detector, none)).toEqual({ kind: 'detection', images: [] });
    expect(decode(classifier, { scores: floats([0, 3], []) })).toMatchObject({ classes: new Int32Array(0) });
  });
});
