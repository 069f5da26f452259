import { ProfileBuilder } from '@drover/shared/profile';
import { calibrateDrift } from '@drover/shared/statistics';
import type { StreamedExamples, World } from '../../world/index.js';
import type { TrainedModel } from './scene.js';

/** Rows of a window, and how sure an alarm is: at most 1 % per window, and two in a row to raise it. */
const DRIFT = { windowSize: 200, falseAlarmsPerWindow: 0.01, confirmWindows: 2, runs: 1_000 } as const;

/** What the world looks like without drift, by the rows that a model is trained for; windows are compared with rows of one device at a time. */
export function referenceOf(world: World, examples: StreamedExamples, seed: number): TrainedModel['reference'] {
  const { features, width, streams } = examples;
  const builder = new ProfileBuilder({ features: [...world.featureNames], seed });
  for (let start = 0; start < features.length; start += width) builder.add(features.subarray(start, start + width));
  const thresholds = calibrateDrift({ rows: features, width, streams, seed, ...DRIFT });
  return { profile: builder.build(), thresholds };
}
