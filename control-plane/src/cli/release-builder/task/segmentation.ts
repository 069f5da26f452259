import type { Segmentation } from '@drover/shared/task';
import { inWords, isFloat, only, type Ask, type Output, type TaskEvidence, type TaskGiven } from './given.js';

/** @returns null where something had to be asked */
export function readSegmentation(given: TaskGiven, { outputs }: TaskEvidence, ask: Ask): Segmentation | null {
  const images = outputs.filter(
    // More than one axis of more than one element: else it is scores of classes, with axes of one behind them.
    ({ datatype, shape }) =>
      datatype !== 'BYTES' && shape.length >= 3 && shape.slice(-3).filter((axis) => axis !== 1).length > 1,
  );
  const output = given.pixels ?? only(images);
  if (output === undefined) return ask('--pixels <output>', `which output holds the pixels: ${inWords(outputs)}`);
  const found = outputs.find(({ name }) => name === output);
  if (!found || !isFloat(found)) return { output, holds: 'classes' };
  const channels =
    given.pixelChannels ??
    channelsOf(found, given.labels) ??
    ask(
      '--pixel-channels <first|last>',
      `whether the axis of classes is the first or the last of an image: ${inWords([found])}`,
    );
  if (!channels) return null;
  const isSingle = found.shape.at(channels === 'first' ? -3 : -1) === 1;
  const threshold =
    given.threshold ?? (isSingle ? ask('--threshold <number>', 'above which score a pixel is of class 1') : undefined);
  if (threshold === null) return null;
  return { output, holds: 'scores', channels, ...(threshold !== undefined && { threshold }) };
}

/** By the number of labels, else because there are fewer classes than rows and columns of pixels. */
function channelsOf({ shape }: Output, labels: readonly string[] | undefined): 'first' | 'last' | undefined {
  const [first = -1, middle = -1, last = -1] = shape.slice(-3);
  const isFirst = labels ? first === labels.length : first > 0 && first < middle && first < last;
  const isLast = labels ? last === labels.length : last > 0 && last < middle && last < first;
  if (isFirst === isLast) return undefined;
  return isFirst ? 'first' : 'last';
}
