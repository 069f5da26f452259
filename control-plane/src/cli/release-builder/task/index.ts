import type { Task } from '@drover/shared/task';
import { labelsUnfit, taskUnclear } from './errors.js';
import { readDetection } from './detection.js';
import type { Ask, Question, TaskEvidence, TaskGiven } from './given.js';
import { readAnomaly, readRegression, readScores } from './rows.js';
import { readSegmentation } from './segmentation.js';
import { typeOf } from './type.js';

export type { TaskEvidence, TaskGiven } from './given.js';
export { demandBackgroundClear } from './background.js';
export { taskGivenOf, typeOf } from './type.js';

/** The task as the manifest states it, or what has to be said first. */
export function readTask(given: TaskGiven, evidence: TaskEvidence): Task | Question[] {
  const questions: Question[] = [];
  const ask: Ask = (option, why) => {
    questions.push({ option, why });
    return null;
  };
  const type = typeOf(given, evidence);
  const labels = given.labels && { labels: [...given.labels] };
  const task = ((): Task | null => {
    switch (type) {
      case 'classification': {
        const scores = readScores(given, evidence, ask);
        return scores === null ? null : { type, scores, ...labels };
      }
      case 'detection': {
        const detection = readDetection(given, evidence, ask);
        return detection && { type, ...labels, detection };
      }
      case 'segmentation': {
        const segmentation = readSegmentation(given, evidence, ask);
        return segmentation && { type, ...labels, segmentation };
      }
      case 'regression': {
        const regression = readRegression(given, evidence, ask);
        return regression && { type, regression };
      }
      case 'anomaly': {
        const anomaly = readAnomaly(given, evidence, ask);
        return anomaly && { type, anomaly };
      }
      case 'tensors':
        return { type };
    }
  })();
  return task && questions.length === 0 ? task : questions;
}

/** @throws CliError CLI_TASK_UNCLEAR, CLI_LABELS_UNFIT, CLI_USAGE */
export function demandTask(given: TaskGiven, evidence: TaskEvidence): Task {
  const read = readTask(given, evidence);
  if (!Array.isArray(read)) return read;
  if (given.labels && typeOf(given, evidence) === 'classification') throw labelsUnfit(given.labels, evidence.outputs);
  throw taskUnclear(typeOf(given, evidence), read);
}

/** What a model could be published as besides plain tensors, and what would have to be said. */
export function possibleTasks(
  evidence: TaskEvidence,
): { readonly task: Task['type']; readonly options: readonly string[] }[] {
  return (['classification', 'regression', 'detection', 'segmentation', 'anomaly'] as const).flatMap((task) => {
    const read = readTask({ task }, evidence);
    const options = Array.isArray(read) ? read.map(({ option }) => option) : [];
    // Where not even the output is found, it is hardly such a model.
    return options.some((option) => option.includes('<output')) ? [] : [{ task, options }];
  });
}
