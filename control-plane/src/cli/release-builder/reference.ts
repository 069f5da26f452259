import { ProfileBuilder, type Profile } from '@drover/shared/profile';
import { calibrateDrift, type DriftThresholds } from '@drover/shared/statistics';
import { CliError } from '../errors.js';
import { rowTensor, sampleInput } from './golden.js';
import type { LoadedModel } from './model-run.js';
import type { Samples } from './samples.js';

export interface ReferenceOptions {
  /** Rows of one window on the device. */
  readonly windowSize: number;
  readonly falseAlarmsPerWindow: number;
  /** Windows in a row that an alarm needs. */
  readonly confirmWindows: number;
  readonly seed: number;
}

export interface Predicted {
  readonly classes: Int32Array;
  readonly confidences: Float32Array;
}

/** Class and confidence of every row, as the device computes them: highest score, softmax where the scores are no distribution. */
export async function predict(model: LoadedModel, samples: Samples, scores: string): Promise<Predicted> {
  const input = sampleInput(model, samples);
  const classes = new Int32Array(samples.count);
  const confidences = new Float32Array(samples.count);
  for (let row = 0; row < samples.count; row++) {
    const output = (await model.run([rowTensor(input, samples, row)])).find(({ name }) => name === scores);
    if (output?.datatype !== 'FP32') {
      throw new CliError('CLI_SAMPLES_UNFIT', `The model has no float32 output named "${scores}".`, {
        remedy: 'Name the output of class scores with --scores.',
      });
    }
    const values = new Float32Array(output.bytes.slice().buffer);
    const best = values.reduce((winner, value, index) => (value > (values[winner] ?? -Infinity) ? index : winner), 0);
    classes[row] = best;
    confidences[row] = confidenceOf(values, values[best] ?? 0);
  }
  return { classes, confidences };
}

function confidenceOf(scores: Float32Array, best: number): number {
  const isDistribution = scores.every((score) => score >= 0 && score <= 1);
  const sum = scores.reduce((total, score) => total + score, 0);
  if (isDistribution && Math.abs(sum - 1) < 1e-3) return best;
  return 1 / scores.reduce((total, score) => total + Math.exp(score - best), 0);
}

export function buildProfile(
  samples: Samples,
  labels: readonly string[] | undefined,
  predicted: Predicted | undefined,
): Profile {
  const builder = new ProfileBuilder({
    features: samples.names,
    ...(labels && predicted ? { labels, confidence: true } : {}),
  });
  for (let row = 0; row < samples.count; row++) {
    const values = samples.values.subarray(row * samples.width, (row + 1) * samples.width);
    const prediction = predicted?.classes[row];
    const confidence = predicted?.confidences[row];
    builder.add(
      values,
      labels && prediction !== undefined && confidence !== undefined ? { prediction, confidence } : {},
    );
  }
  return builder.build();
}

/** Draws ten windows per wanted false alarm, which keeps the threshold steady. @throws StatisticsError */
export function calibrate(
  samples: Samples,
  { windowSize, falseAlarmsPerWindow, confirmWindows, seed }: ReferenceOptions,
): DriftThresholds {
  const names = [...new Set(samples.streams)];
  return calibrateDrift({
    rows: samples.values,
    width: samples.width,
    ...(samples.streams ? { streams: Int32Array.from(samples.streams, (name) => names.indexOf(name)) } : {}),
    windowSize,
    falseAlarmsPerWindow,
    confirmWindows,
    runs: Math.ceil(10 / falseAlarmsPerWindow),
    seed,
  });
}
