import type { GoldenTensor, GoldenVector, Manifest, TensorSignature } from '@drover/shared/manifest';
import type { Task } from '@drover/shared/task';
import { afterAll, describe, expect, it } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServeError } from '../../src/serve/errors.js';
import { GoldenCheck, toTensors, type TestedModel } from '../../src/serve/session/golden-check.js';
import { install, someDigest } from './installed-classifier.js';

const directory = mkdtempSync(join(tmpdir(), 'drover-golden-check-'));
afterAll(() => rmSync(directory, { recursive: true }));

const floats = (name: string, shape: number[], values: readonly number[]): GoldenTensor => ({
  name,
  datatype: 'FP32',
  shape,
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
const vectorOf = (...outputs: GoldenTensor[]): GoldenVector => ({ inputs: [], outputs });

const PARITY = { absolute: 0.01, relative: 0 };
const modelOf = (task: Task, outputs: TensorSignature[], contract: Partial<Manifest['contract']> = {}): TestedModel =>
  install(
    new Uint8Array(),
    [vectorOf()],
    {
      directory,
      manifest: { task, contract: { perHardwareClass: [], parity: PARITY, ...contract } },
    },
    { inputs: [], outputs },
  );

/** All pairs of what was published and what a device answers. */
function check(model: TestedModel, ...pairs: (readonly [expected: GoldenVector, actual: GoldenVector])[]) {
  const golden = new GoldenCheck(model, 'cpu');
  for (const [expected, actual] of pairs) golden.add(expected, toTensors(actual.outputs));
  return golden.demand();
}
const failure = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof ServeError && error.code === 'SELF_TEST_FAILED') return error.message;
    throw error;
  }
  throw new Error('it passed');
};

describe('when a detector is tested', () => {
  const detection = {
    boxes: 'boxes',
    scores: 'scores',
    format: 'xyxy',
    coordinates: 'pixels',
    scoreThreshold: 0.5,
    maxBoxes: 10,
  } as const;
  const outputs: TensorSignature[] = [
    { name: 'boxes', datatype: 'FP32', shape: [-1, 4] },
    { name: 'scores', datatype: 'FP32', shape: [-1] },
  ];
  const detector = (contract = {}) => modelOf({ type: 'detection', detection }, outputs, contract);
  const answer = (...found: readonly (readonly [x: number, score: number])[]) =>
    vectorOf(
      floats(
        'boxes',
        [found.length, 4],
        found.flatMap(([x]) => [x, 0, x + 10, 10]),
      ),
      floats(
        'scores',
        [found.length],
        found.map(([, score]) => score),
      ),
    );

  it('passes where every box is found again, in whatever order and a little beside, however many numbers differ', () => {
    const [expected, actual] = [answer([0, 0.9], [50, 0.8], [80, 0.1]), answer([51, 0.8], [1, 0.9])];
    expect(check(detector(), [expected, actual])).toEqual({
      worstDifference: 0,
      agreement: { measure: 'box-f1', value: 1, compared: 4 },
    });
  });

  it('fails where a box is missing, or its score is beyond the tolerance', () => {
    const expected = answer([0, 0.9], [50, 0.8]);
    expect(failure(() => check(detector(), [expected, answer([0, 0.9], [70, 0.8])]))).toMatch(
      /output "boxes", element 4: 70 instead of 50 .*; by box-f1 0\.5 of 4 agree, and everything has to agree \(0 beyond/,
    );
    expect(failure(() => check(detector(), [expected, answer([0, 0.9], [50, 0.75])]))).toMatch(
      /by box-f1 1 of 4 agree, and everything has to agree \(1 beyond the tolerance, by up to 0\.05/,
    );
  });

  it('passes with the share that the release states, over all vectors together', () => {
    const pairs = [
      [answer([0, 0.9], [50, 0.8]), answer([0, 0.9], [50, 0.6])],
      [answer([0, 0.9], [50, 0.8]), answer([0, 0.9])],
    ] as const;
    expect(check(detector({ agreement: 0.85 }), ...pairs).agreement).toEqual({
      measure: 'box-f1',
      value: 6 / 7,
      compared: 7,
    });
    expect(failure(() => check(detector({ agreement: 0.9 }), ...pairs))).toMatch(
      /0\.857.* of 7 agree, and 0\.9 is asked/,
    );
  });

  it('fails where numbers differ and no vector has anything to detect', () => {
    const nothing = [answer([0, 0.1]), answer([30, 0.2])] as const;
    expect(failure(() => check(detector({ agreement: 0.5 }), nothing))).toContain(
      'hold nothing that could be compared',
    );
  });

  it('fails, and says why, where an answer is no boxes', () => {
    const broken = vectorOf(floats('boxes', [1, 4], [0, 0, 1, 1]), floats('scores', [3], [1, 1, 1]));
    expect(failure(() => check(detector(), [answer([0, 0.9]), broken]))).toContain('cannot be read as its task says');
  });
});

describe('when a classifier is tested', () => {
  const outputs: TensorSignature[] = [{ name: 'logits', datatype: 'FP32', shape: [-1, 2] }];
  const task: Task = { type: 'classification', scores: 'logits' };
  const answer = (...logits: number[]) => vectorOf(floats('logits', [logits.length / 2, 2], logits));

  it('passes where logits differ, and neither classes nor probabilities do', () => {
    const model = modelOf(task, outputs);
    const compared = check(model, [answer(9, -9), answer(8.5, -8.5)]);
    expect(compared).toEqual({ worstDifference: 0.5, agreement: { measure: 'same-class', value: 1, compared: 1 } });
    expect(failure(() => check(model, [answer(1, 0), answer(0.5, 0)]))).toContain('1 beyond the tolerance');
  });

  it('does not ask the task where all elements are within the tolerance', () => {
    expect(check(modelOf(task, outputs), [answer(0, 0.001), answer(0.001, 0)])).not.toHaveProperty('agreement');
  });

  it('of an adaptation asks finite numbers and nothing else', () => {
    const adapted = { ...modelOf(task, outputs), adaptation: someDigest('a') };
    expect(check(adapted, [answer(9, -9), answer(-9, 9)])).toEqual({ worstDifference: 18 });
    expect(failure(() => check(adapted, [answer(9, -9), answer(NaN, 9)]))).toContain('NaN instead of 9');
  });
});

describe('when plain tensors are tested', () => {
  it('has no other measure than their elements, whatever share is stated', () => {
    const outputs: TensorSignature[] = [{ name: 'y', datatype: 'FP32', shape: [2] }];
    const model = modelOf({ type: 'tensors' }, outputs, { agreement: 0.5 });
    const [expected, actual] = [vectorOf(floats('y', [2], [1, 2])), vectorOf(floats('y', [2], [1, 3]))];
    expect(failure(() => check(model, [expected, actual]))).toMatch(
      /: golden vector 0, output "y", element 1: 3 instead of 2 \(difference 1, allowed 0\.01 \+ 0·\|expected\|\)\.$/,
    );
  });
});
