import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement } from './agreement.js';
import { outputUnfit, taskUnfit } from './errors.js';
import { demandOutput, readOutput, statedAxis, type Numbers } from './outputs.js';
import type { Segmentation } from './schema.js';

export interface DecodedPixels {
  readonly kind: 'segmentation';
  /** Class of each pixel, row-major; −1 where a score is no number. */
  readonly classes: Int32Array;
  /** [images × height × width]; without the axis of images where the output has none. */
  readonly shape: readonly number[];
}

/** @throws TaskError TASK_UNFIT */
export function pixelDecoder(segmentation: Segmentation, signature: readonly TensorSignature[]) {
  const { output, holds, channels = 'first', threshold } = segmentation;
  const stated = demandOutput(signature, output);
  const channelAxis = channels === 'first' ? -3 : -1;
  if (holds === 'scores' && stated.shape.length > 1 && stated.shape.length < 3)
    throw taskUnfit(`the output "${output}" has no axes of classes, height and width`);
  if (holds === 'scores' && statedAxis(stated, channelAxis) === 1 && threshold === undefined)
    throw taskUnfit(`the output "${output}" has one score for each pixel, and no threshold is stated`);
  return (outputs: TensorMap): DecodedPixels => {
    const numbers = readOutput(outputs, output);
    if (holds === 'classes') return { kind: 'segmentation', classes: indices(numbers), shape: numbers.shape };
    if (numbers.shape.length < 3) throw outputUnfit(output, `its shape is [${numbers.shape.join(', ')}]`);
    if (numbers.shape.at(channelAxis) === 1 && threshold === undefined)
      throw outputUnfit(output, 'it has one score for each pixel, and no threshold is stated');
    return highest(numbers, channelAxis, threshold);
  };
}

const indices = ({ data }: Numbers): Int32Array =>
  Int32Array.from(data, (value) => (Number.isInteger(value) && value >= 0 ? value : -1));

/** The class with the highest score of each pixel, the first of several. */
function highest({ shape, data }: Numbers, channelAxis: number, threshold = NaN): DecodedPixels {
  const axis = shape.length + channelAxis;
  const width = shape[axis] ?? 0;
  const inner = shape.slice(axis + 1).reduce((product, length) => product * length, 1);
  const pixels = width === 0 ? 0 : data.length / width;
  const classes = new Int32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const first = Math.floor(pixel / inner) * width * inner + (pixel % inner);
    classes[pixel] = width === 1 ? sideOf(data[first] ?? NaN, threshold) : indexOfHighest(data, first, inner, width);
  }
  return { kind: 'segmentation', classes, shape: shape.filter((_, index) => index !== axis) };
}

const sideOf = (score: number, threshold: number): number => (Number.isNaN(score) ? -1 : Number(score > threshold));

function indexOfHighest(data: ArrayLike<number>, first: number, stride: number, count: number): number {
  let best = 0;
  let highestScore = -Infinity;
  for (let index = 0; index < count; index++) {
    const score = data[first + index * stride] ?? NaN;
    if (Number.isNaN(score)) return -1;
    if (score > highestScore) {
      highestScore = score;
      best = index;
    }
  }
  return best;
}

/**
 * Mean over the classes that occur of intersection over union (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2015, section 4.1.2).
 * Pixels without a class intersect with nothing, and neither do those of images of another size.
 */
export function pixelAgreement({ classes: expected, shape }: DecodedPixels, other: DecodedPixels): Agreement {
  const actual = other.shape.join() === shape.join() ? other.classes : new Int32Array(other.classes.length).fill(-1);
  const pixels = Math.max(expected.length, actual.length);
  const occurrences = new Map<number, number>();
  const intersections = new Map<number, number>();
  const count = (counts: Map<number, number>, key: number) => counts.set(key, (counts.get(key) ?? 0) + 1);
  let same = 0;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const [wanted = -1, got = -1] = [expected[pixel], actual[pixel]];
    count(occurrences, wanted);
    count(occurrences, got);
    if (wanted !== got || wanted === -1) continue;
    count(intersections, wanted);
    same += 1;
  }
  let sum = 0;
  for (const [key, occurred] of occurrences) {
    const both = intersections.get(key) ?? 0;
    sum += both / (occurred - both);
  }
  return {
    measure: 'mean-iou',
    value: occurrences.size === 0 ? 1 : sum / occurrences.size,
    compared: pixels,
    beyondTolerance: 0,
    largestDifference: 0,
    details: { classes: occurrences.size, samePixels: pixels === 0 ? 1 : same / pixels },
  };
}
