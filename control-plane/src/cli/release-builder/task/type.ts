import type { Task } from '@drover/shared/task';
import { CliError } from '../../errors.js';
import { isFloat, type TaskEvidence, type TaskGiven } from './given.js';

type Type = Task['type'];

/** What each thing that may be said is about; what is about one task alone tells which. */
const ABOUT: Readonly<Record<Exclude<keyof TaskGiven, 'task'>, readonly Type[]>> = {
  labels: ['classification', 'detection', 'segmentation'],
  scores: ['classification', 'detection', 'anomaly'],
  boxes: ['detection'],
  boxClasses: ['detection'],
  boxCount: ['detection'],
  boxFormat: ['detection'],
  boxCoordinates: ['detection'],
  scoreThreshold: ['detection'],
  background: ['detection'],
  maxOverlap: ['detection'],
  maxBoxes: ['detection'],
  pixels: ['segmentation'],
  pixelChannels: ['segmentation'],
  values: ['regression'],
  unit: ['regression'],
  scale: ['regression'],
  threshold: ['anomaly', 'segmentation'],
  anomalous: ['anomaly'],
};
const KEYS = Object.keys(ABOUT) as (keyof typeof ABOUT)[];

/** Of options of a command, those of the task. */
export const taskGivenOf = (options: TaskGiven): TaskGiven =>
  Object.fromEntries(
    (['task', ...KEYS] as const).flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]])),
  );

const optionOf = (key: string): string => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * The task that is named, else of the options, else of labels, else of the operators of a scikit-learn or LightGBM export; else plain tensors.
 *
 * @throws CliError CLI_USAGE for options of another task
 */
export function typeOf(given: TaskGiven, evidence: TaskEvidence): Type {
  const said = KEYS.filter((key) => given[key] !== undefined);
  const [told] = said.flatMap((key) => (ABOUT[key].length === 1 ? ABOUT[key] : []));
  const type = given.task ?? told ?? (given.labels ? 'classification' : typeOfOperators(evidence));
  const foreign = said.find((key) => !ABOUT[key].includes(type));
  if (foreign === undefined) return type;
  throw new CliError(
    'CLI_USAGE',
    `${optionOf(foreign)} is for ${ABOUT[foreign].join(', ')}, and the task is ${type}.`,
    {
      remedy: 'Leave it out, or say with --task what the model does.',
    },
  );
}

function typeOfOperators({ outputs, operators }: TaskEvidence): Type {
  const isMadeOf = (kind: string) => operators.some((name) => name.startsWith('ai.onnx.ml.') && name.endsWith(kind));
  const floats = outputs.filter(isFloat).length;
  if (isMadeOf('Classifier') && floats === 1) return 'classification';
  // What finds anomalies is made of regressors too, and has a second output.
  if (isMadeOf('Regressor') && floats === 1 && outputs.length === 1) return 'regression';
  return 'tensors';
}
