import { seededRandom, type SeededRandom } from '@drover/shared/statistics';
import type { SensorFault } from './bad-hardware.js';
import { requireArgument } from './errors.js';
import type { StreamedExamples } from './examples.js';
import { createFleetStreams, verifyPortion, verifyTrainingRequest, type DriftingStream } from './fleet-streams.js';
import { GAS_DATA_WIDTH, readGasBatches, type GasRow } from './gas-files.js';
import { GASES } from './gases.js';
import type { World } from './world.js';

export interface GasWorldOptions {
  /** The folder with batch1.dat … batch5.dat. */
  readonly directory: string;
  readonly seed: number;
  /** The real data know no sites; these only name where the fleet stands. */
  readonly sites?: readonly string[];
  /** What streams deliver after `startDrift`, phase by phase: the batches of each. The last phase stays. [[3], [4], [5]] when left out. */
  readonly phases?: readonly (readonly number[])[];
  /** Rows of a stream per phase; 300 when left out. */
  readonly stepsPerPhase?: number;
  readonly badHardware?: Readonly<Record<string, SensorFault>>;
}

const STABLE_BATCHES = [1, 2];
const DRIFTED_BATCHES = [3, 4, 5];
const TRAINING_SHARE = 0.7;
const DRIFTED_TRAINING_SHARE = 0.5;

/**
 * The world of the UCI Gas Sensor Array Drift data (Vergara et al. 2012): 16 real sensors × 8 features, values as they are in the files (see
 * standardization from `agent/src/learn`), drifting over 36 months. Before the drift streams draw from 30 % of batches 1–2, whose other 70 % are for training; after it, by phases,
 * from one half of batches 3–5, whose other half is the drifted training set. Every split is by batch and gas, seeded, and disjoint. A stream draws its
 * rows evenly and with replacement, since the files hold only 3,633 rows; so its rows are independent, as the originals, months apart, are not.
 *
 * @throws WorldError DATA_FOLDER_MISSING, DATA_ROW_MALFORMED, WORLD_ARGUMENT
 */
export async function openGasWorld(options: GasWorldOptions): Promise<World> {
  const {
    directory,
    seed,
    sites = ['north', 'south', 'east'],
    phases = [[3], [4], [5]],
    stepsPerPhase = 300,
  } = options;
  requireArgument(sites.length > 0, 'A world has no sites.', 'Give at least one site.');
  requireArgument(
    phases.length > 0 &&
      phases.every((phase) => phase.length > 0 && phase.every((batch) => DRIFTED_BATCHES.includes(batch))),
    `The phases ${JSON.stringify(phases)} of the drift cannot be streamed.`,
    `Give at least one phase, each of batches out of ${DRIFTED_BATCHES.join(', ')}.`,
  );
  requireArgument(stepsPerPhase > 0, `A phase has ${stepsPerPhase} steps.`, 'Give at least 1.');

  const random = seededRandom(seed);
  const batches = await readGasBatches(directory, [...STABLE_BATCHES, ...DRIFTED_BATCHES]);
  const splits = new Map(
    [...STABLE_BATCHES, ...DRIFTED_BATCHES].map((batch, index) => {
      const share = STABLE_BATCHES.includes(batch) ? TRAINING_SHARE : DRIFTED_TRAINING_SHARE;
      return [batch, splitByGas(batches[index] ?? [], share, random.fork(`batch ${batch}`))] as const;
    }),
  );
  const pool = (part: keyof Split, ofBatches: readonly number[]): GasRow[] =>
    ofBatches.flatMap((batch) => splits.get(batch)?.[part] ?? []);
  const stablePool = pool('streamed', STABLE_BATCHES);
  const phasePools = phases.map((phase) => pool('streamed', phase));
  const trainingPools = { stable: pool('training', STABLE_BATCHES), drifted: pool('training', DRIFTED_BATCHES) };

  return {
    labels: GASES,
    featureNames: Array.from(
      { length: GAS_DATA_WIDTH },
      (_, index) => `sensor_${String(Math.floor(index / 8) + 1).padStart(2, '0')}_feature_${(index % 8) + 1}`,
    ),
    sites,

    trainingSet: ({ rows, devices, drifted = false, draw = 'training' }) => {
      const available = trainingPools[drifted ? 'drifted' : 'stable'];
      verifyTrainingRequest(rows, devices);
      const chosen = random
        .fork(`${draw} ${drifted ? 'drifted' : 'stable'}`)
        .shuffle(available)
        .slice(0, rows);
      return toExamples(chosen, Math.min(devices, chosen.length));
    },

    ...createFleetStreams({
      sites,
      badHardware: options.badHardware ?? {},
      random,
      open: (_site, ofDevice) => drawStream(stablePool, phasePools, stepsPerPhase, ofDevice),
      isReached: () => true,
    }),
  };
}

interface Split {
  readonly training: GasRow[];
  readonly streamed: GasRow[];
}

/** Each gas on its own, since batch 2 has 5 rows of toluene that a plain split could put on one side. */
function splitByGas(rows: readonly GasRow[], trainingShare: number, random: SeededRandom): Split {
  const split: Split = { training: [], streamed: [] };
  for (const label of GASES.keys()) {
    const shuffled = random.shuffle(rows.filter((row) => row.label === label));
    const boundary = Math.round(trainingShare * shuffled.length);
    split.training.push(...shuffled.slice(0, boundary));
    split.streamed.push(...shuffled.slice(boundary));
  }
  return split;
}

/** Phases count as equal parts of the change: progress is 1 from the first row of the last phase. */
function drawStream(
  stablePool: readonly GasRow[],
  phasePools: readonly (readonly GasRow[])[],
  stepsPerPhase: number,
  random: SeededRandom,
): DriftingStream {
  let step = 0;
  let driftStep = Infinity;
  const phaseAt = (row: number): number =>
    row < driftStep ? -1 : Math.min(phasePools.length - 1, Math.floor((row - driftStep) / stepsPerPhase));
  return {
    next: (n) => {
      verifyPortion(n);
      const rows = Array.from({ length: n }, () => {
        const pool = phasePools[phaseAt(step++)] ?? stablePool;
        return pool[random.nextInt(pool.length)] as GasRow;
      });
      return toExamples(rows, 1);
    },
    drift: (fromStep = step) => {
      driftStep = Math.min(driftStep, fromStep);
    },
    driftProgress: () => (step === 0 ? 0 : (phaseAt(step - 1) + 1) / phasePools.length),
  };
}

/** The rows one after the other, in `streamCount` streams of about equal length. */
function toExamples(rows: readonly GasRow[], streamCount: number): StreamedExamples {
  const count = rows.length;
  const features = new Float32Array(count * GAS_DATA_WIDTH);
  for (const [index, row] of rows.entries()) features.set(row.values, index * GAS_DATA_WIDTH);
  return {
    features,
    labels: Int32Array.from(rows, (row) => row.label),
    streams: Int32Array.from(rows, (_, index) => Math.floor((index * streamCount) / count)),
    count,
    width: GAS_DATA_WIDTH,
  };
}
