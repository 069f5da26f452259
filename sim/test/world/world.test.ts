import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createWorld, WorldError, type Examples, type WorldOptions } from '../../src/world/index.js';

/** Sensor columns in which two row sets differ anywhere. */
function differingSensors(left: Examples, right: Examples): number[] {
  const columns = Array.from({ length: left.width }, (_, column) => column);
  return columns.filter((column) =>
    left.features.some((value, index) => index % left.width === column && value !== right.features[index]),
  );
}

function codeOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    return error instanceof WorldError ? error.code : undefined;
  }
  return undefined;
}

describe('when two worlds have the same seed', () => {
  it('they give every device the same data, in whatever order the devices are asked', () => {
    const devices = ['dev-1', 'dev-2', 'dev-3', 'dev-4'];
    fc.assert(
      fc.property(fc.integer(), fc.shuffledSubarray(devices, { minLength: 4 }), fc.boolean(), (seed, order, drifts) => {
        const first = createWorld({ seed, drift: { rampSteps: 0 } });
        const second = createWorld({ seed, drift: { rampSteps: 0 } });
        if (drifts) for (const world of [first, second]) world.startDrift();
        const inOrder = new Map(devices.map((device) => [device, first.stream(device, 'north').next(3)]));
        second.trainingSet({ rows: 5, devices: 2 });
        for (const device of order) expect(second.stream(device, 'north').next(3)).toEqual(inOrder.get(device));
      }),
      { numRuns: 30 },
    );
  });

  it('a stream gives the same rows however it is cut into portions', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.nat(5), { minLength: 1, maxLength: 6 }), (seed, portions) => {
        const total = portions.reduce((sum, n) => sum + n, 0);
        const whole = createWorld({ seed }).stream('dev-1', 'south').next(total);
        const stream = createWorld({ seed }).stream('dev-1', 'south');
        const parts = portions.map((n) => stream.next(n));
        expect(parts.flatMap(({ features }) => [...features])).toEqual([...whole.features]);
        expect(parts.flatMap(({ labels }) => [...labels])).toEqual([...whole.labels]);
      }),
      { numRuns: 30 },
    );
  });

  it('the same training set comes twice, and a draw of another name shares no row with it', () => {
    const request = { rows: 60, devices: 4 };
    const set = createWorld({ seed: 3 }).trainingSet(request);
    expect(createWorld({ seed: 3 }).trainingSet(request)).toEqual(set);
    const holdout = createWorld({ seed: 3 }).trainingSet({ ...request, draw: 'holdout' });
    const firstReadings = new Set(set.features.filter((_, index) => index % set.width === 0));
    expect(holdout.features.filter((_, index) => index % set.width === 0).some((v) => firstReadings.has(v))).toBe(
      false,
    );
  });

  it('a stream that is asked for again goes on where it was', () => {
    const world = createWorld({ seed: 5 });
    const twice = [world.stream('dev-1', 'north').next(2), world.stream('dev-1', 'north').next(2)];
    const once = createWorld({ seed: 5 }).stream('dev-1', 'north').next(4);
    expect(twice.flatMap(({ features }) => [...features])).toEqual([...once.features]);
  });
});

it('when the seed, the device or the site differs, so do the data', () => {
  const rows = createWorld({ seed: 1 }).stream('dev-1', 'north').next(5).features;
  expect(createWorld({ seed: 2 }).stream('dev-1', 'north').next(5).features).not.toEqual(rows);
  expect(createWorld({ seed: 1 }).stream('dev-2', 'north').next(5).features).not.toEqual(rows);
  expect(createWorld({ seed: 1 }).stream('dev-1', 'south').next(5).features).not.toEqual(rows);
});

describe('when a training set is asked for', () => {
  it('it has the rows asked for, in runs of about equal length per stream, with names for columns and classes', () => {
    const world = createWorld({ seed: 1, features: 9, classes: 7 });
    const set = world.trainingSet({ rows: 100, devices: 3 });
    expect([set.count, set.width, set.features.length, set.labels.length]).toEqual([100, 9, 900, 100]);
    expect([...set.streams]).toEqual([...set.streams].toSorted((a, b) => a - b));
    expect([0, 1, 2].map((stream) => set.streams.filter((s) => s === stream).length)).toEqual([33, 33, 34]);
    expect(world.featureNames).toHaveLength(9);
    expect(world.labels).toHaveLength(7);
    expect(new Set(world.labels).size).toBe(7);
  });

  it('all classes are about equally frequent, and persist as configured', () => {
    const count = 24_000;
    const { labels } = createWorld({ seed: 8, classPersistence: 0.4 }).stream('dev-1', 'north').next(count);
    for (let gas = 0; gas < 6; gas++) {
      // The standard error of a share, widened for the persistence: √(p(1−p)/n · (1+.4)/(1−.4)) = .0037.
      expect(Math.abs(labels.filter((label) => label === gas).length / count - 1 / 6)).toBeLessThan(0.015);
    }
    const repeats = labels.filter((label, row) => row > 0 && label === labels[row - 1]).length / (count - 1);
    expect(repeats).toBeCloseTo(0.4 + 0.6 / 6, 1);
  });
});

it.each([0, 0.3, 0.9])(
  'when the noise has autocorrelation %d, the measured AR(1) coefficient and deviation agree',
  (rho) => {
    const count = 20_000;
    const read = (deviation: number): Examples =>
      createWorld({ seed: 4, noise: { deviation, autocorrelation: rho } })
        .stream('dev-1', 'north')
        .next(count);
    const [noisy, clean] = [read(0.8), read(0)];
    const noise = Array.from(
      { length: count },
      (_, row) => (noisy.features[row * 16 + 5] as number) - (clean.features[row * 16 + 5] as number),
    );
    const power = noise.reduce((sum, value) => sum + value * value, 0);
    const lagged = noise.reduce((sum, value, row) => sum + value * (noise[row - 1] ?? 0), 0);
    expect(Math.abs(lagged / power - rho)).toBeLessThan(0.03);
    expect(Math.abs(Math.sqrt(power / count) / 0.8 - 1)).toBeLessThan(0.1);
  },
);

describe('when the world drifts', () => {
  const drifting = (drift: WorldOptions['drift'], site: string, start = true): Examples => {
    const world = createWorld({ seed: 6, drift: { rampSteps: 0, ...drift } });
    if (start) world.startDrift();
    return world.stream('dev-1', site).next(40);
  };

  it.each(['offset', 'gain', 'both'] as const)('only the chosen sensors change (%s)', (kind) => {
    const still = drifting({ kind, sensors: [2, 11] }, 'north', false);
    const moved = drifting({ kind, sensors: [2, 11] }, 'north');
    expect(differingSensors(still, moved)).toEqual([2, 11]);
    expect(moved.labels).toEqual(still.labels);
  });

  it('an offset of magnitude m moves the chosen sensors by m, as a root mean square', () => {
    const still = drifting({ kind: 'offset', sensors: [1, 4, 9], magnitude: 2 }, 'north', false);
    const moved = drifting({ kind: 'offset', sensors: [1, 4, 9], magnitude: 2 }, 'north');
    const moves = [1, 4, 9].map((sensor) => (moved.features[sensor] as number) - (still.features[sensor] as number));
    expect(Math.hypot(...moves) / Math.sqrt(3)).toBeCloseTo(2, 4);
  });

  it('only the chosen sites change, and each by its multiplier', () => {
    const drift = { sites: ['north', 'east'], sensors: [0], kind: 'offset', siteMultiplier: { east: 3 } } as const;
    const moveAt = (site: string): number =>
      (drifting(drift, site).features[0] as number) - (drifting(drift, site, false).features[0] as number);
    expect(moveAt('south')).toBe(0);
    expect(moveAt('north')).not.toBe(0);
    expect(moveAt('east') / moveAt('north')).toBeCloseTo(3, 4);
  });

  it('a ramp rises step by step from the next row on, for streams opened before and after', () => {
    const options: WorldOptions = { seed: 6, drift: { rampSteps: 4, kind: 'offset', sensors: [0], magnitude: 1 } };
    const still = createWorld(options).stream('old', 'north').next(8);
    const world = createWorld(options);
    const old = world.stream('old', 'north');
    const before = old.next(2);
    expect(world.driftProgress()).toBe(0);
    world.startDrift();
    world.startDrift();
    const moved = [...before.features, ...old.next(3).features];
    expect(world.driftProgress()).toBe(0.75);
    world.stream('young', 'north').next(1);
    expect(world.driftProgress()).toBe(0.5);
    moved.push(...old.next(3).features);
    const moves = Array.from(
      { length: 8 },
      (_, row) => (moved[row * 16] as number) - (still.features[row * 16] as number),
    );
    const full = moves[7] as number;
    expect(Math.abs(full)).toBeCloseTo(1, 4);
    for (const [row, share] of [0, 0, 0.25, 0.5, 0.75, 1, 1, 1].entries()) {
      expect((moves[row] as number) / full).toBeCloseTo(share, 4);
    }
  });

  it('a start step makes every stream drift by itself, and a drifted training set is drifted from its first row', () => {
    const world = createWorld({ seed: 6, drift: { startStep: 3, rampSteps: 0, sensors: [0], kind: 'offset' } });
    const stream = world.stream('dev-1', 'north');
    stream.next(3);
    expect(world.driftProgress()).toBe(0);
    stream.next(1);
    expect(world.driftProgress()).toBe(1);
    const mean = (drifted: boolean): number => {
      const { features, count } = world.trainingSet({ rows: 1000, devices: 1, drifted });
      return features.reduce((sum, value, index) => (index % 16 === 0 ? sum + value : sum), 0) / count;
    };
    expect(Math.abs(mean(true) - mean(false))).toBeGreaterThan(0.8);
  });
});

it.each<[string, () => unknown]>([
  ['a site that the world has not got', () => createWorld({ seed: 1 }).stream('dev-1', 'moon')],
  [
    'one device at two sites',
    () => {
      const world = createWorld({ seed: 1 });
      world.stream('dev-1', 'north');
      world.stream('dev-1', 'south');
    },
  ],
  ['half a row', () => createWorld({ seed: 1 }).stream('dev-1', 'north').next(0.5)],
  ['more devices than rows', () => createWorld({ seed: 1 }).trainingSet({ rows: 2, devices: 3 })],
  ['no features', () => createWorld({ seed: 1, features: 0 })],
  ['one class', () => createWorld({ seed: 1, classes: 1 })],
  ['an explosive autocorrelation', () => createWorld({ seed: 1, noise: { autocorrelation: 1 } })],
  ['drift of a sensor that is not there', () => createWorld({ seed: 1, drift: { sensors: [16] } })],
  ['drift of a site that is not there', () => createWorld({ seed: 1, drift: { siteMultiplier: { moon: 2 } } })],
])('when asked for %s, it says WORLD_ARGUMENT', (_, act) => {
  expect(codeOf(act)).toBe('WORLD_ARGUMENT');
});
