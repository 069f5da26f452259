import { ProfileBuilder, type StepDistribution } from '../profile/index.js';
import { measureAutocorrelation, type Autocorrelation } from './autocorrelation.js';
import { featureDistances, referenceDistribution } from './drift.js';
import type { DriftThresholds } from './drift-thresholds.js';
import { StatisticsError } from './errors.js';
import { firstAtLeast } from './kolmogorov.js';
import { seededRandom, type SeededRandom } from './random.js';

/** A block of ten autocorrelation times misses about 5 % of the variance that dependence adds (AR(1): 2ρ / ((1 − ρ)² b τ)). */
const BLOCK_TIMES = 10;
/** Windows that a stream must hold, so that either half has two. */
const MIN_WINDOWS_PER_STREAM = 4;
const WINDOWS_PER_SEGMENT = 4;
const MAX_SEGMENT_PAIRS = 8;

export interface CalibrationOptions {
  /** Row-major, n × `width`, in time order within each stream. Without drift: this *is* the normal state. */
  readonly rows: Float32Array;
  readonly width: number;
  /** Stream (device, site) of each row. One stream when left out. */
  readonly streams?: Int32Array | undefined;
  /** Rows of a window, at least 10. */
  readonly windowSize: number;
  /** Wanted probability of an alarm per window without drift. Alarms come every 1/α windows on average. */
  readonly falseAlarmsPerWindow: number;
  /** Windows in a row that must exceed the threshold before an alarm; 1 when left out. */
  readonly confirmWindows?: number | undefined;
  /** Windows to draw per stream and half, at least 1/α (10/α gives a steady threshold). */
  readonly runs: number;
  readonly seed: number;
}

/**
 * The threshold of the largest Kolmogorov–Smirnov distance over all features, such that a window without drift exceeds it with probability
 * α at most, although the features depend on one another (whole rows are drawn), and the rows on their predecessors (moving-block
 * bootstrap: Künsch 1989; the block length follows from the measured autocorrelation), and devices differ (a window comes from one stream;
 * the largest threshold of any stream counts).
 *
 * A window that also shaped the reference profile looks closer to it than a new one. So each stream is cut into alternating segments: windows
 * from one half are compared with the profile of the *other* half, and vice versa (cross-fitting); the larger threshold counts. The profile
 * that is shipped should hold all rows: it is closer to the truth than either half, which errs on the side of fewer alarms.
 *
 * Limits: a rate cannot be resolved that the rows hardly show. Strongly dependent rows (τ of about 20) are drawn as whole windows, and then
 * α = .01 from 20 disjoint windows really gives .017, while α = .05 holds. Rows in the order of their classes are no normal state.
 *
 * Cost: streams × 2 runs × features sorts of `windowSize` values.
 *
 * @throws StatisticsError STATISTICS_ARGUMENT; STATISTICS_TOO_FEW_ROWS when no stream holds four windows
 */
export function calibrateDrift(options: CalibrationOptions): DriftThresholds {
  requireValid(options);
  const { rows, width, windowSize, falseAlarmsPerWindow, runs, seed } = options;
  const streams = groupByStream(options);
  const long = streams.filter((stream) => stream.length >= MIN_WINDOWS_PER_STREAM * windowSize);
  if (long.length === 0) {
    const longest = Math.max(0, ...streams.map((stream) => stream.length));
    throw new StatisticsError(
      'STATISTICS_TOO_FEW_ROWS',
      `Windows of ${windowSize} rows need a stream of at least ${MIN_WINDOWS_PER_STREAM * windowSize} rows; the longest has ${longest}.`,
      { remedy: 'Give more reference rows or a smaller window.' },
    );
  }
  const halves = ([0, 1] as const).map((half) => streams.map((stream) => segmentsOfHalf(stream, windowSize, half)));
  const references = halves.map((segments) => referencesFrom(options, segments.flat()));
  const dependence = strongestDependence(options, streams, references[0] ?? []);
  const blockLength =
    dependence.integratedTime === 1 ? 1 : Math.min(windowSize, Math.ceil(BLOCK_TIMES * dependence.integratedTime));

  const random = seededRandom(seed);
  const rank = Math.min(runs, Math.ceil((runs + 1) * (1 - falseAlarmsPerWindow)));
  const thresholds = long.flatMap((stream) => {
    const index = streams.indexOf(stream);
    return halves.map((segments, half) => {
      const windowRandom = random.fork(`stream ${index}, half ${half}`);
      const maxima = Float64Array.from({ length: runs }, () => {
        const window = drawWindow({ rows, width, windowSize, blockLength }, segments[index] ?? [], windowRandom);
        return featureDistances(window, width, references[1 - half] ?? []).reduce((a, b) => Math.max(a, b), 0);
      });
      return maxima.sort()[rank - 1] as number;
    });
  });

  return {
    detector: 'ks-max',
    windowSize,
    falseAlarmRate: falseAlarmsPerWindow,
    confirmWindows: options.confirmWindows ?? 1,
    threshold: Math.max(...thresholds),
    features: width,
    referenceRows: rows.length / width,
    calibration: {
      method: 'moving-block-bootstrap',
      blockLength,
      runs,
      seed,
      streams: long.length,
      shortStreams: streams.length - long.length,
      autocorrelation: dependence.lag1,
      integratedTime: dependence.integratedTime,
    },
  };
}

function requireValid({
  rows,
  width,
  streams,
  windowSize,
  falseAlarmsPerWindow: rate,
  runs,
}: CalibrationOptions): void {
  const wholeRows = Number.isInteger(width) && width >= 1 && rows.length > 0 && rows.length % width === 0;
  const problems = [
    !wholeRows && `${rows.length} values are not whole rows of ${width}`,
    streams &&
      streams.length !== rows.length / width &&
      `there are ${streams.length} stream ids for ${rows.length / width} rows`,
    !(Number.isInteger(windowSize) && windowSize >= 10) && `a window has ${windowSize} rows, not 10 or more`,
    !(rate > 0 && rate <= 0.5) && `the false-alarm rate is ${rate}, not in (0, 0.5]`,
    !(Number.isInteger(runs) && runs >= 1 / rate) && `${runs} runs are fewer than 1 / ${rate}`,
  ].filter((problem) => typeof problem === 'string');
  if (problems.length === 0) return;
  throw new StatisticsError(
    'STATISTICS_ARGUMENT',
    `The drift threshold cannot be calibrated: ${problems.join('; ')}.`,
    {
      remedy: 'Mend the named options.',
    },
  );
}

function groupByStream({ rows, width, streams }: CalibrationOptions): Int32Array[] {
  const grouped = new Map<number, number[]>();
  for (let row = 0; row < rows.length / width; row++) {
    const stream = streams?.[row] ?? 0;
    const members = grouped.get(stream) ?? [];
    members.push(row);
    grouped.set(stream, members);
  }
  return [...grouped.values()].map((members) => Int32Array.from(members));
}

/** Long alternating segments: dependence reaches across few borders, and a slow trend reaches both halves alike. */
function segmentsOfHalf(stream: Int32Array, windowSize: number, half: 0 | 1): Int32Array[] {
  const pairs = Math.floor(stream.length / (2 * WINDOWS_PER_SEGMENT * windowSize));
  const segments = 2 * Math.min(MAX_SEGMENT_PAIRS, Math.max(1, pairs));
  const border = (index: number): number => Math.floor((index * stream.length) / segments);
  return Array.from({ length: segments / 2 }, (_, pair) =>
    stream.subarray(border(2 * pair + half), border(2 * pair + half + 1)),
  );
}

function referencesFrom(
  { rows, width, seed }: CalibrationOptions,
  segments: readonly Int32Array[],
): StepDistribution[] {
  const builder = new ProfileBuilder({ features: Array.from({ length: width }, (_, index) => String(index)), seed });
  for (const segment of segments) {
    for (const row of segment) builder.add(rows.subarray(row * width, (row + 1) * width));
  }
  return builder.build().features.map(referenceDistribution);
}

/** Over all features, of the ranks rather than the values: what the statistic sees, and safe from outliers and missing values. */
function strongestDependence(
  { rows, width, windowSize }: CalibrationOptions,
  streams: readonly Int32Array[],
  references: readonly StepDistribution[],
): Autocorrelation {
  const ofFeature = references.map((reference, feature) => {
    const ranked = streams.map((stream) =>
      Float64Array.from(stream, (row) => rankOf(reference, rows[row * width + feature] as number)),
    );
    return measureAutocorrelation(ranked, windowSize);
  });
  return {
    lag1: Math.max(...ofFeature.map(({ lag1 }) => lag1)),
    integratedTime: Math.max(...ofFeature.map(({ integratedTime }) => integratedTime)),
  };
}

/** Share below x (a missing value lies beyond all): monotone in x, which is all that a rank needs. */
function rankOf({ values, cumulative }: StepDistribution, x: number): number {
  if (!Number.isFinite(x)) return 1;
  const below = firstAtLeast(values, x);
  return below === 0 ? 0 : (cumulative[below - 1] as number);
}

/** Blocks of consecutive rows, end to end; every block start in the segments is equally likely. */
function drawWindow(
  table: Pick<CalibrationOptions, 'rows' | 'width' | 'windowSize'> & { readonly blockLength: number },
  segments: readonly Int32Array[],
  random: SeededRandom,
): Float32Array {
  const { rows, width, windowSize, blockLength } = table;
  const starts = segments.map((segment) => segment.length - blockLength + 1);
  const allStarts = starts.reduce((sum, count) => sum + count, 0);
  const window = new Float32Array(windowSize * width);
  for (let filled = 0; filled < windowSize; filled += blockLength) {
    let start = random.nextInt(allStarts);
    let chosen = 0;
    while (start >= (starts[chosen] as number)) start -= starts[chosen++] as number;
    const block = segments[chosen]?.subarray(start, start + Math.min(blockLength, windowSize - filled));
    block?.forEach((row, index) => window.set(rows.subarray(row * width, (row + 1) * width), (filled + index) * width));
  }
  return window;
}
