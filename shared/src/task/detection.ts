import type { TensorMap, TensorSignature } from '../tensors/index.js';
import type { Agreement, AgreementOptions } from './agreement.js';
import { strongest, toCorners, type DetectedBox } from './boxes.js';
import { Differences } from './differences.js';
import { outputUnfit, taskUnfit } from './errors.js';
import { matchBoxes } from './matching.js';
import { demandOutput, readOutput, statedAxis, type Numbers } from './outputs.js';
import type { Detection, Task } from './schema.js';

export interface DecodedBoxes {
  readonly kind: 'detection';
  /** Of each image what was found, by falling score. */
  readonly images: readonly (readonly DetectedBox[])[];
}

/** @throws TaskError TASK_UNFIT */
export function boxDecoder(detection: Detection, { labels }: Task, signature: readonly TensorSignature[]) {
  checkSignature(detection, labels, signature);
  return (outputs: TensorMap): DecodedBoxes => {
    const boxes = readOutput(outputs, detection.boxes);
    if (boxes.shape.at(-1) !== 4 || boxes.shape.length < 2)
      throw outputUnfit(detection.boxes, `boxes have four numbers, its shape is [${boxes.shape.join(', ')}]`);
    const images = boxes.shape.length > 2 ? (boxes.shape[0] ?? 0) : 1;
    const perImage = images === 0 ? 0 : boxes.data.length / 4 / images;
    const read: Candidates = {
      boxes,
      perImage,
      scores: perBox(outputs, detection.scores, { boxes, images, perImage }),
      classes: detection.classes === undefined ? undefined : readOutput(outputs, detection.classes),
      counts: detection.count === undefined ? undefined : readOutput(outputs, detection.count),
    };
    const found = Array.from({ length: images }, (_, image) => candidatesOf(detection, read, image));
    return { kind: 'detection', images: found.map((candidates) => strongest(candidates, detection)) };
  };
}

interface Candidates {
  readonly boxes: Numbers;
  readonly perImage: number;
  readonly scores: Numbers & { readonly width: number };
  readonly classes: Numbers | undefined;
  readonly counts: Numbers | undefined;
}

function checkSignature(
  { boxes, scores, classes, count, background }: Detection,
  labels: Task['labels'],
  signature: readonly TensorSignature[],
): void {
  const stated = demandOutput(signature, boxes);
  const isShapeStated = stated.shape.length > 1;
  if (isShapeStated && (statedAxis(stated, -1) ?? 4) !== 4)
    throw taskUnfit(`the output "${boxes}" does not end in four numbers for each box`);
  const scored = demandOutput(signature, scores);
  if (classes !== undefined) demandOutput(signature, classes);
  if (count !== undefined) demandOutput(signature, count);
  const width = scored.shape.length === stated.shape.length ? statedAxis(scored, -1) : undefined;
  if (classes === undefined && isShapeStated && labels && width !== undefined && width !== labels.length)
    throw taskUnfit(`the output "${scores}" has ${width} scores for ${labels.length} labels`);
  if (background !== undefined && labels && background >= labels.length)
    throw taskUnfit(`the background is class ${background} of ${labels.length}`);
}

/** Scores stand box after box; where the axes are the other way round, every one of them would be read wrongly. */
function perBox(
  outputs: TensorMap,
  name: string,
  { boxes, images, perImage }: { readonly boxes: Numbers; readonly images: number; readonly perImage: number },
): Candidates['scores'] {
  const scores = readOutput(outputs, name);
  const rows = images * perImage;
  const width = rows === 0 ? 0 : scores.data.length / rows;
  const axis = boxes.shape.length > 2 ? 1 : 0;
  if (!Number.isInteger(width) || scores.shape[axis] !== boxes.shape[axis])
    throw outputUnfit(name, `its shape is [${scores.shape.join(', ')}] for boxes of [${boxes.shape.join(', ')}]`);
  return { ...scores, width };
}

function candidatesOf(detection: Detection, read: Candidates, image: number): DetectedBox[] {
  const { boxes, perImage, scores, classes, counts } = read;
  const { format, scoreThreshold, background } = detection;
  const count = Math.min(perImage, counts?.data[image] ?? perImage);
  const found: DetectedBox[] = [];
  for (let box = image * perImage; box < image * perImage + count; box++) {
    for (let index = 0; index < scores.width; index++) {
      const score = scores.data[box * scores.width + index] ?? NaN;
      const kind = classes ? (classes.data[box] ?? NaN) : index;
      // Written so that NaN reaches no threshold.
      if (!(score >= scoreThreshold) || kind === background || !Number.isInteger(kind)) continue;
      const [a = NaN, b = NaN, c = NaN, d = NaN] = boxes.data.subarray(4 * box, 4 * box + 4);
      const corners = toCorners(format, [a, b, c, d]);
      if (corners) found.push({ ...corners, score, class: kind });
    }
  }
  return found;
}

/** F1 of the matched boxes: twice their number over that of the boxes of both sides (van Rijsbergen 1979, chapter 7). */
export function boxAgreement(
  { images: expected }: DecodedBoxes,
  { images: actual }: DecodedBoxes,
  { tolerance }: AgreementOptions,
): Agreement {
  const differences = new Differences(tolerance);
  const counts = { expected: 0, actual: 0, matched: 0 };
  let iouSum = 0;
  for (let image = 0; image < Math.max(expected.length, actual.length); image++) {
    const [wanted = [], got = []] = [expected[image], actual[image]];
    counts.expected += wanted.length;
    counts.actual += got.length;
    for (const pair of matchBoxes(wanted, got)) {
      counts.matched += 1;
      iouSum += pair.iou;
      differences.add(pair.actual.score, pair.expected.score);
    }
  }
  const compared = counts.expected + counts.actual;
  return {
    measure: 'box-f1',
    value: compared === 0 ? 1 : (2 * counts.matched) / compared,
    compared,
    beyondTolerance: differences.beyond,
    largestDifference: differences.largest,
    details: { ...counts, meanIou: counts.matched === 0 ? 1 : iouSum / counts.matched },
  };
}
