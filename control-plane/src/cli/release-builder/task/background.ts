import type { GoldenTensor, GoldenVector } from '@drover/shared/manifest';
import type { Task } from '@drover/shared/task';
import { fromBytes, isNumeric, numbersOf } from '@drover/shared/tensors';
import { taskUnclear } from './errors.js';
import type { TaskGiven } from './given.js';

/** Scores of a box that sum to one leave "nothing is there" only a class of its own, and only the publisher knows which. @throws CliError CLI_TASK_UNCLEAR */
export function demandBackgroundClear(
  { detection }: Task,
  { background }: TaskGiven,
  vectors: readonly GoldenVector[],
): void {
  if (!detection || detection.background !== undefined || detection.classes !== undefined || background === 'none')
    return;
  const scores = vectors.flatMap(({ outputs }) => outputs.filter(({ name }) => name === detection.scores));
  if (scores.length === 0 || !scores.every(areDistributions)) return;
  throw taskUnclear('detection', [
    { option: '--background <class|none>', why: 'which class stands for nothing: the scores of each box sum to one' },
  ]);
}

function areDistributions({ datatype, shape, bytes }: GoldenTensor): boolean {
  const tensor = fromBytes(datatype, shape, bytes);
  const width = shape.at(-1) ?? 0;
  if (!tensor || !isNumeric(tensor) || width < 2) return false;
  const values = numbersOf(tensor);
  for (let row = 0; row < values.length; row += width) {
    let sum = 0;
    for (const value of values.subarray(row, row + width)) sum += value;
    if (!(Math.abs(sum - 1) < 1e-3)) return false;
  }
  return values.length > 0;
}
