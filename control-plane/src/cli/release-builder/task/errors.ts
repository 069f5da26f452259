import type { Task } from '@drover/shared/task';
import { CliError } from '../../errors.js';
import { inWords, type Output, type Question } from './given.js';

export const taskUnclear = (type: Task['type'], questions: readonly Question[]): CliError =>
  new CliError(
    'CLI_TASK_UNCLEAR',
    `The model does not tell all that a task of ${type} needs: ${questions.map(({ why }) => why).join('; ')}.`,
    { remedy: `Say it with ${questions.map(({ option }) => option).join(', ')}; or publish it with --task tensors.` },
  );

export const labelsUnfit = (labels: readonly string[], outputs: readonly Output[]): CliError =>
  new CliError(
    'CLI_LABELS_UNFIT',
    `No output has one score for each of the ${labels.length} labels: ${inWords(outputs)}.`,
    {
      remedy:
        'Give as many labels as the model has classes, in the order of its scores, or name the output with --scores.',
    },
  );
