import type { Detection } from '@drover/shared/task';
import { inWords, isFloat, isWhole, only, type Ask, type Output, type TaskEvidence, type TaskGiven } from './given.js';

const SCORE_THRESHOLD = 0.5;
const MAX_BOXES = 100;
/** Suppression of overlapping boxes inside of a model. */
const SUPPRESSION = /NonMaxSuppression|NMS/;

/** @returns null where something had to be asked */
export function readDetection(given: TaskGiven, evidence: TaskEvidence, ask: Ask): Detection | null {
  const { outputs, operators } = evidence;
  const boxes = given.boxes ?? only(outputs.filter(couldBeBoxes));
  if (boxes === undefined) return ask('--boxes <output>', `which output holds the boxes: ${inWords(outputs)}`);
  const corners = outputs.find(({ name }) => name === boxes);
  const others = outputs.filter(({ name }) => name !== boxes);
  const perBox = others.filter((each) => corners && standsByBox(each, corners));
  const scores = given.scores ?? only(perBox.filter(isFloat));
  if (scores === undefined)
    return ask('--scores <output>', `which output holds the scores of the boxes: ${inWords(others)}`);
  const hasOneScore = others.find(({ name }) => name === scores)?.shape.length !== corners?.shape.length;
  const classes = given.boxClasses ?? (hasOneScore ? only(perBox.filter(isWhole)) : undefined);
  const format = given.boxFormat ?? ask('--box-format <xyxy|yxyx|xywh|cxcywh>', 'what the four numbers of a box are');
  const coordinates =
    given.boxCoordinates ??
    ask('--box-coordinates <normalised|pixels>', 'whether boxes are shares of the image or pixels');
  const suppresses = operators.some((name) => SUPPRESSION.test(name));
  const maxOverlap =
    given.maxOverlap ??
    (suppresses
      ? 'none'
      : ask(
          '--max-overlap <iou|none>',
          'whether overlapping boxes have to be suppressed: the model has no operator for it',
        ));
  const background = backgroundOf(given, ask);
  if (!format || !coordinates || maxOverlap === null || background === null) return null;
  return {
    boxes,
    scores,
    ...(classes !== undefined && { classes }),
    ...(given.boxCount !== undefined && { count: given.boxCount }),
    format,
    coordinates,
    scoreThreshold: given.scoreThreshold ?? SCORE_THRESHOLD,
    ...(background !== undefined && { background }),
    ...(maxOverlap !== 'none' && { maxOverlap }),
    maxBoxes: given.maxBoxes ?? MAX_BOXES,
  };
}

const couldBeBoxes = ({ datatype, shape }: Output): boolean =>
  datatype !== 'BYTES' && datatype !== 'BOOL' && shape.length >= 2 && shape.at(-1) === 4;

/** One element, or one for each class, for every box. */
function standsByBox({ shape }: Output, { shape: boxes }: Output): boolean {
  const axes = boxes.slice(0, -1);
  return (
    (shape.length === axes.length || shape.length === boxes.length) && axes.every((axis, at) => shape[at] === axis)
  );
}

/** Its name may say it. @returns the index of the class; undefined where there is none */
function backgroundOf({ background, labels }: TaskGiven, ask: Ask): number | undefined | null {
  if (background === 'none') return undefined;
  if (typeof background === 'number') return background;
  if (background === undefined) {
    const named = labels?.findIndex((label) => /^_*background_*$/i.test(label)) ?? -1;
    return named < 0 ? undefined : named;
  }
  const index = labels?.indexOf(background) ?? -1;
  return index < 0 ? ask('--background <class|none>', `"${background}" is none of the labels`) : index;
}
