import { describe, expect, it } from 'vitest';
import { createWorld, swapLabels } from '../../src/world/index.js';
import { trainSoftmaxRegression } from './softmax-regression.js';

describe.each([1, 2, 3])('when a classifier learns the world of seed %d', (seed) => {
  const world = createWorld({ seed, drift: { rampSteps: 0 } });
  const request = { rows: 1200, devices: 12 };
  const holdout = world.trainingSet({ ...request, draw: 'holdout' });
  const driftedHoldout = world.trainingSet({ ...request, drifted: true, draw: 'holdout' });
  const accuracyOf = trainSoftmaxRegression(world.trainingSet(request), world.labels.length);

  it('it is good but not perfect before the drift, on training streams and on the fleet', () => {
    expect(accuracyOf(holdout)).toBeGreaterThan(0.94);
    expect(accuracyOf(holdout)).toBeLessThan(0.995);
    const fleet = ['dev-1', 'dev-2', 'dev-3', 'dev-4'].map((id) => accuracyOf(world.stream(id, 'east').next(250)));
    expect(fleet.reduce((sum, accuracy) => sum + accuracy / 4, 0)).toBeGreaterThan(0.93);
  });

  it('it loses a lot after the drift', () => {
    expect(accuracyOf(driftedHoldout)).toBeLessThan(0.87);
    expect(accuracyOf(driftedHoldout)).toBeGreaterThan(0.5);
  });

  it('it is good again when it is trained on the changed world', () => {
    const retrained = trainSoftmaxRegression(world.trainingSet({ ...request, drifted: true }), world.labels.length);
    expect(retrained(driftedHoldout)).toBeGreaterThanOrEqual(0.93);
  });

  it('it is wrong on two of six classes when their labels were swapped', () => {
    const mistaken = trainSoftmaxRegression(swapLabels(world.trainingSet(request), 1, 4), world.labels.length);
    expect(mistaken(holdout)).toBeGreaterThan(0.5);
    expect(mistaken(holdout)).toBeLessThan(0.75);
  });
});
