import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import type { SensorFault } from './bad-hardware.js';
import { createDriftLaw, reachesSite, verifyDrift, type Drift } from './drift.js';
import { requireArgument } from './errors.js';
import type { Examples, StreamedExamples } from './examples.js';
import { createFleetStreams, verifyTrainingRequest, type DriftingStream } from './fleet-streams.js';
import { drawGasPatterns } from './gas-patterns.js';
import { gasLabels } from './gases.js';
import { createSensorStream, type StreamMaker } from './sensor-stream.js';

/** What one device's sensors deliver, and what was truly there. */
export interface DeviceStream {
  /** The next `n` rows; cutting a stream into other portions gives the same rows. */
  next(n: number): Examples;
}

export interface TrainingSetRequest {
  /** Rows in all. */
  readonly rows: number;
  /** Over how many streams they spread. */
  readonly devices: number;
  /** True for the world after its full drift, false (the default) for the world before it. */
  readonly drifted?: boolean;
  /** Another name gives other rows of the same world, for a holdout; "training" when left out. */
  readonly draw?: string;
}

/** Where the sensor data of a simulated fleet come from. The same seed gives every device the same data, whoever is asked first. */
export interface World {
  /** Names of the classes; a label is an index into them. */
  readonly labels: readonly string[];
  readonly featureNames: readonly string[];
  readonly sites: readonly string[];
  /** Labelled rows from streams that no device of the fleet reads. The same request gives the same rows. */
  trainingSet(request: TrainingSetRequest): StreamedExamples;
  /** The stream of a device: one per id, continued when it is asked for again. */
  stream(deviceId: string, site: string): DeviceStream;
  /** The world changes now, for all streams; each goes through the change by its own steps. Again: no effect. */
  startDrift(): void;
  /** How far the change is, from 0 to 1: the mean over the streams that it reaches. */
  driftProgress(): number;
}

export interface WorldOptions {
  readonly seed: number;
  readonly features?: number;
  readonly classes?: number;
  readonly sites?: readonly string[];
  readonly noise?: Partial<Noise>;
  /** Probability that the next row is of the same class for sure; else it is drawn evenly from all. Lag-1 autocorrelation of the class. */
  readonly classPersistence?: number;
  /** Standard deviation of a sensor's offset between sites, and of a sensor's relative gain between devices. */
  readonly siteSpread?: number;
  readonly deviceSpread?: number;
  readonly drift?: Partial<Drift>;
  /** Devices with a broken sensor, by device id. */
  readonly badHardware?: Readonly<Record<string, SensorFault>>;
}

export interface Noise {
  /** Standard deviation of a reading around its true value. */
  readonly deviation: number;
  /** Lag-1 autocorrelation of the noise (AR(1)), from 0 to below 1. */
  readonly autocorrelation: number;
}

/**
 * A generated world of gas sensors: a class-conditional, bent pattern over all sensors (see `drawGasPatterns`), a random concentration in every row, small
 * differences between sites and devices, AR(1) noise, and drift.
 *
 * @throws WorldError WORLD_ARGUMENT
 */
export function createWorld(options: WorldOptions): World {
  const { features = 16, classes = 6, sites = ['north', 'south', 'east'], badHardware = {} } = options;
  const noise: Noise = { deviation: 0.8, autocorrelation: 0.3, ...options.noise };
  const classPersistence = options.classPersistence ?? 0.3;
  const drift: Drift = {
    sensors: Array.from({ length: features }, (_, sensor) => sensor).filter((sensor) => sensor % 2 === 0),
    kind: 'both',
    magnitude: 1.05,
    rampSteps: 200,
    sites: 'all',
    siteMultiplier: {},
    ...options.drift,
  };
  requireArgument(Number.isInteger(features) && features > 0, `A world has ${features} features.`, 'Give at least 1.');
  requireArgument(Number.isInteger(classes) && classes > 1, `A world has ${classes} classes.`, 'Give at least 2.');
  requireArgument(sites.length > 0, 'A world has no sites.', 'Give at least one site.');
  requireArgument(noise.deviation >= 0, `The noise deviation is ${noise.deviation}.`, 'Give 0 or more.');
  requireShare('noise autocorrelation', noise.autocorrelation);
  requireShare('class persistence', classPersistence);
  verifyDrift(drift, features, sites);

  const random = seededRandom(options.seed);
  const siteOffsets = new Map(
    sites.map((site) => {
      const ofSite = random.fork(`site ${site}`);
      return [site, Float64Array.from({ length: features }, () => (options.siteSpread ?? 0.08) * ofSite.normal())];
    }),
  );
  const patterns = drawGasPatterns(random.fork('patterns'), features, classes);
  const maker: StreamMaker = {
    features,
    classes,
    noise,
    classPersistence,
    deviceSpread: options.deviceSpread ?? 0.02,
    patterns,
    driftLaw: createDriftLaw(drift, patterns, classes),
    rampSteps: drift.rampSteps,
  };
  const openUndrifted = (site: string, ofDevice: SeededRandom): DriftingStream =>
    createSensorStream(maker, site, siteOffsets.get(site) ?? new Float64Array(features), ofDevice);
  const open = (site: string, ofDevice: SeededRandom): DriftingStream => {
    const stream = openUndrifted(site, ofDevice);
    if (drift.startStep !== undefined) stream.drift(drift.startStep);
    return stream;
  };

  return {
    labels: gasLabels(classes),
    featureNames: Array.from({ length: features }, (_, index) => `sensor_${String(index + 1).padStart(2, '0')}`),
    sites,

    trainingSet: ({ rows, devices, drifted = false, draw = 'training' }) => {
      verifyTrainingRequest(rows, devices);
      const portions = Array.from({ length: devices }, (_, device) => {
        const site = sites[device % sites.length] as string;
        const source = openUndrifted(site, random.fork(`${draw} ${drifted ? 'drifted' : 'stable'} ${device}`));
        if (drifted) source.drift(-Infinity);
        return source.next(Math.floor(((device + 1) * rows) / devices) - Math.floor((device * rows) / devices));
      });
      return joinPortions(portions, features);
    },

    ...createFleetStreams({ sites, badHardware, random, open, isReached: (site) => reachesSite(drift, site) }),
  };
}

function requireShare(what: string, value: number): void {
  requireArgument(value >= 0 && value < 1, `The ${what} is ${value}.`, 'Give a number from 0 to below 1.');
}

function joinPortions(portions: readonly Examples[], width: number): StreamedExamples {
  const count = portions.reduce((sum, portion) => sum + portion.count, 0);
  const joined = {
    features: new Float32Array(count * width),
    labels: new Int32Array(count),
    streams: new Int32Array(count),
  };
  let row = 0;
  for (const [stream, portion] of portions.entries()) {
    joined.features.set(portion.features, row * width);
    joined.labels.set(portion.labels, row);
    joined.streams.fill(stream, row, row + portion.count);
    row += portion.count;
  }
  return { ...joined, count, width };
}
