import { describe, expect, it } from 'vitest';
import { ProfileBuilder, parseProfile, toJson, type Profile } from '../../src/profile/index.js';
import {
  calibrateDrift,
  detectDrift,
  parseDriftThresholds,
  seededRandom,
  type CalibrationOptions,
  type DriftThresholds,
  type SeededRandom,
} from '../../src/statistics/index.js';

const width = 6;
const windowSize = 80;

/** AR(1) rows whose features share a common part (correlation .36); each stationary standard normal. */
function normalRows(random: SeededRandom, count: number, rho: number): Float32Array {
  const rows = new Float32Array(count * width);
  const innovation = Math.sqrt(1 - rho * rho);
  const state = Float64Array.from({ length: width }, () => random.normal());
  for (let row = 0; row < count; row++) {
    const common = random.normal();
    for (let feature = 0; feature < width; feature++) {
      const value = rho * (state[feature] ?? 0) + innovation * (0.6 * common + 0.8 * random.normal());
      state[feature] = value;
      rows[row * width + feature] = value;
    }
  }
  return rows;
}

function profileOf(rows: Float32Array): Profile {
  const builder = new ProfileBuilder({ features: Array.from({ length: width }, (_, index) => `sensor-${index}`) });
  for (let row = 0; row < rows.length / width; row++) builder.add(rows.subarray(row * width, (row + 1) * width));
  return builder.build();
}

const calibration = (rows: Float32Array, changes: Partial<CalibrationOptions> = {}): DriftThresholds =>
  calibrateDrift({ rows, width, windowSize, falseAlarmsPerWindow: 0.05, runs: 200, seed: 1, ...changes });

const windowOf = (rows: Float32Array) => ({ rows, width, count: rows.length / width });

describe('when nothing drifts', () => {
  // Bound: α and three standard errors of 2,400 windows in 40 clusters; a Kolmogorov–Smirnov test per feature would give more than 20 %.
  it.each([0, 0.5])('a window raises an alarm no more often than promised, with AR(1) ρ = %f', (rho) => {
    let alarms = 0;
    let windows = 0;
    for (let world = 0; world < 40; world++) {
      const random = seededRandom(world);
      const rows = normalRows(random, 1600, rho);
      const thresholds = calibration(rows, { seed: world });
      const reference = profileOf(rows);
      for (let repeat = 0; repeat < 60; repeat++) {
        windows += 1;
        const window = windowOf(normalRows(random, windowSize, rho));
        if (detectDrift({ reference, thresholds, window }).drift) alarms += 1;
      }
    }
    expect(alarms / windows).toBeLessThanOrEqual(0.05 + 0.015);
    // Nor does the detector keep its promise by being blind.
    expect(alarms / windows).toBeGreaterThan(0.005);
  });
});

describe('when the drift threshold is calibrated', () => {
  const rows = normalRows(seededRandom(1), 1600, 0);

  it('is repeatable, and survives JSON', () => {
    const thresholds = calibration(rows);
    expect(calibration(rows)).toEqual(thresholds);
    expect(parseDriftThresholds(JSON.parse(JSON.stringify(thresholds)))).toEqual(thresholds);
  });

  it('draws longer blocks and sets a higher threshold for dependent rows', () => {
    const independent = calibration(rows);
    const dependent = calibration(normalRows(seededRandom(1), 1600, 0.8));
    expect(independent.calibration.blockLength).toBe(1);
    expect(dependent.calibration.blockLength).toBeGreaterThan(40);
    expect(dependent.calibration.autocorrelation).toBeGreaterThan(0.7);
    expect(dependent.threshold).toBeGreaterThan(1.5 * independent.threshold);
  });

  it('sets a higher threshold for a lower false-alarm rate', () => {
    expect(calibration(rows, { falseAlarmsPerWindow: 0.01 }).threshold).toBeGreaterThan(calibration(rows).threshold);
  });

  it('lets devices differ from the pool: a window of the odd device is no drift', () => {
    const random = seededRandom(9);
    const streams = Int32Array.from({ length: 1600 }, (_, row) => row % 4);
    const shifted = normalRows(random, 1600, 0).map((value, index) =>
      streams[Math.floor(index / width)] === 3 ? value + 1.5 : value,
    );
    const reference = profileOf(shifted);
    const window = windowOf(normalRows(random, windowSize, 0).map((value) => value + 1.5));
    const aware = calibration(shifted, { streams });
    expect(aware.calibration.streams).toBe(4);
    expect(detectDrift({ reference, thresholds: aware, window }).drift).toBe(false);
    expect(detectDrift({ reference, thresholds: calibration(shifted), window }).drift).toBe(true);
  });

  it('leaves streams out that are too short, and says so', () => {
    const streams = Int32Array.from({ length: 1600 }, (_, row) => (row < 1500 ? 0 : 1));
    expect(calibration(rows, { streams }).calibration).toMatchObject({ streams: 1, shortStreams: 1 });
  });

  it('refuses too few rows and impossible options', () => {
    expect(() => calibration(rows.subarray(0, 300 * width))).toThrow(
      expect.objectContaining({ code: 'STATISTICS_TOO_FEW_ROWS' }),
    );
    const impossible: Partial<CalibrationOptions>[] = [
      { windowSize: 5 },
      { falseAlarmsPerWindow: 0 },
      { runs: 10 },
      { width: 7 },
      { streams: new Int32Array(3) },
    ];
    for (const changes of impossible) {
      expect(() => calibration(rows, changes)).toThrow(expect.objectContaining({ code: 'STATISTICS_ARGUMENT' }));
    }
  });

  it('refuses thresholds that do not follow the schema, naming the paths', () => {
    expect(() => parseDriftThresholds({ ...calibration(rows), threshold: 2 })).toThrow(/\/threshold/);
  });
});

describe('when a window is compared with the reference', () => {
  const random = seededRandom(2);
  const rows = normalRows(random, 1600, 0);
  const reference = profileOf(rows);
  const thresholds = calibration(rows);
  const moved = normalRows(random, windowSize, 0).map((value, index) => (index % width === 2 ? value + 1 : value));

  it('finds the feature that moved', () => {
    const decision = detectDrift({ reference, thresholds, window: windowOf(moved) });
    expect(decision).toMatchObject({ verdict: 'DRIFT', drift: true, windowSize });
    expect(decision.worst).toHaveLength(5);
    expect(decision.worst[0]).toEqual({ feature: 'sensor-2', ks: decision.statistic });
  });

  it('finds a sensor that fell silent', () => {
    const silent = normalRows(random, windowSize, 0).map((value, index) => (index % width === 4 ? Number.NaN : value));
    expect(detectDrift({ reference, thresholds, window: windowOf(silent) }).worst[0]).toEqual({
      feature: 'sensor-4',
      ks: 1,
    });
  });

  it('looks at the newest rows only', () => {
    const longer = new Float32Array(2 * moved.length);
    longer.set(normalRows(random, windowSize, 0));
    longer.set(moved, moved.length);
    expect(detectDrift({ reference, thresholds, window: windowOf(longer) })).toEqual(
      detectDrift({ reference, thresholds, window: windowOf(moved) }),
    );
  });

  it('gives the same decision bit for bit from the stored documents', () => {
    const stored = JSON.parse(JSON.stringify({ reference: toJson(reference), thresholds })) as Record<string, unknown>;
    const again = {
      reference: parseProfile(stored['reference']),
      thresholds: parseDriftThresholds(stored['thresholds']),
    };
    expect(detectDrift({ ...again, window: windowOf(moved) })).toEqual(
      detectDrift({ reference, thresholds, window: windowOf(moved) }),
    );
  });

  it('says NO_DATA to fewer rows than the threshold was made for', () => {
    const decision = detectDrift({ reference, thresholds, window: windowOf(moved.subarray(0, 79 * width)) });
    expect(decision).toMatchObject({ verdict: 'NO_DATA', drift: false, statistic: null, worst: [] });
  });

  it('refuses a window of other features', () => {
    const window = { rows: new Float32Array(800), width: 5, count: 160 };
    expect(() => detectDrift({ reference, thresholds, window })).toThrow(
      expect.objectContaining({ code: 'STATISTICS_ARGUMENT' }),
    );
  });
});
