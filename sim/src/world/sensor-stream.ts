import type { SeededRandom } from '@drover/shared/statistics';
import type { createDriftLaw } from './drift.js';
import { verifyPortion, type DriftingStream } from './fleet-streams.js';
import type { GasPatterns } from './gas-patterns.js';

/** What the streams of one world have in common. */
export interface StreamMaker {
  readonly features: number;
  readonly classes: number;
  readonly noise: { readonly deviation: number; readonly autocorrelation: number };
  readonly classPersistence: number;
  readonly deviceSpread: number;
  readonly patterns: GasPatterns;
  readonly driftLaw: ReturnType<typeof createDriftLaw>;
  readonly rampSteps: number;
}

/** Concentrations are log-uniform over this range, around the usual 1. */
const WEAKEST = 0.45;
const STRONGEST = 1.6;

/** An endless stream of one device at one site; everything random in it is drawn from `random`, in a fixed order per row. */
export function createSensorStream(
  maker: StreamMaker,
  site: string,
  siteOffset: Float64Array,
  random: SeededRandom,
): DriftingStream {
  const { features, classes, patterns, noise } = maker;
  const deviceGain = Float64Array.from({ length: features }, () => 1 + maker.deviceSpread * random.normal());
  // Begun in the stationary distribution, so that the first rows are like all others.
  const noiseState = Float64Array.from({ length: features }, () => random.normal());
  const innovation = Math.sqrt(1 - noise.autocorrelation ** 2);
  let gas = random.nextInt(classes);
  let step = 0;
  let driftStep = Infinity;

  const progressAt = (row: number): number => {
    if (row < driftStep) return 0;
    return maker.rampSteps === 0 ? 1 : Math.min(1, (row - driftStep + 1) / maker.rampSteps);
  };

  const readRow = (into: Float32Array): void => {
    if (random.next() >= maker.classPersistence) gas = random.nextInt(classes);
    const concentration = WEAKEST * (STRONGEST / WEAKEST) ** random.next();
    const progress = progressAt(step);
    for (let sensor = 0; sensor < features; sensor++) {
      const noiseNow = noise.autocorrelation * (noiseState[sensor] ?? 0) + innovation * random.normal();
      noiseState[sensor] = noiseNow;
      const shift = maker.driftLaw(sensor, site, progress);
      const response = (deviceGain[sensor] ?? 1) * patterns.response(gas, sensor, concentration);
      into[sensor] =
        (patterns.baseline[sensor] ?? 0) +
        (siteOffset[sensor] ?? 0) +
        shift.gain * response +
        shift.offset +
        noise.deviation * noiseNow;
    }
    step++;
  };

  return {
    next: (n) => {
      verifyPortion(n);
      const read = { features: new Float32Array(n * features), labels: new Int32Array(n), count: n, width: features };
      for (let row = 0; row < n; row++) {
        readRow(read.features.subarray(row * features, (row + 1) * features));
        read.labels[row] = gas;
      }
      return read;
    },
    drift: (fromStep = step) => {
      driftStep = Math.min(driftStep, fromStep);
    },
    driftProgress: () => (step === 0 ? 0 : progressAt(step - 1)),
  };
}
