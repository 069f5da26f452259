import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { AnswerOutcome } from '../label-desk.js';
import type { LabelOutcome, LabelRecord } from '../recorder.js';

/** A class by its index or its name, or a value; null where it is not known (yet). */
export type GivenLabel = number | string | null;

/** Where the release does not say how many there are. */
const MAX_CLASSES = 2 ** 31;

/** By the task of the release that serves. @throws ServeError REQUEST_INVALID */
export function truthOf(installed: InstalledModel, labels: readonly GivenLabel[]): Pick<LabelRecord, 'of' | 'labels'> {
  const { model, manifest } = installed;
  if (labels.every((label) => label === null)) {
    throw invalid('no row has a label', {
      remedy: 'Send at least one; null is for rows whose truth is not known yet.',
    });
  }
  const { type, regression } = manifest.task;
  if (type === 'classification') return { of: 'classes', labels: classesOf(installed, labels) };
  if (type !== 'regression' || regression?.outputs.length !== 1) {
    throw invalid(`${model} is no model that gives one class or one value for each row`, {
      remedy: 'Send ground truth to models for classification, and for regression with one output of values.',
    });
  }
  const unit = regression.unit === undefined ? '' : `, in ${regression.unit}`;
  const values = labels.map((label) => {
    if (label === null || (typeof label === 'number' && Number.isFinite(label))) return label;
    throw invalid(`${JSON.stringify(label).slice(0, 200)} is no number`, {
      remedy: `Send for each row the true value${unit}, or null.`,
    });
  });
  return { of: 'values', labels: values };
}

/** Class indices, by the labels of the release that serves. @throws ServeError REQUEST_INVALID */
export function classesOf(
  { model, manifest: { task } }: InstalledModel,
  labels: readonly GivenLabel[],
): (number | null)[] {
  if (task.type !== 'classification') {
    throw invalid(`${model} is a model for ${task.type}; classes are for classification`, {
      remedy: 'Answer label requests of classification models only.',
    });
  }
  const names = labels.some((label) => typeof label === 'string') ? indicesByName(task.labels ?? []) : undefined;
  const classes = task.labels?.length ?? MAX_CLASSES;
  return labels.map((label) => {
    const index = typeof label === 'string' ? names?.get(label) : label;
    if (index === null || (index !== undefined && Number.isInteger(index) && index >= 0 && index < classes))
      return index;
    throw invalid(`${model} has no class ${JSON.stringify(label).slice(0, 200)}`, {
      remedy: `Send for each row the index of its class${task.labels === undefined ? '' : `, 0 to ${classes - 1}`}, its name as the release has it, or null.`,
    });
  });
}

const indicesByName = (names: readonly string[]): ReadonlyMap<string, number> =>
  new Map(names.map((name, index) => [name, index]));

/**
 * Lets pass what holds for at least one row: joined now, or known before.
 *
 * @throws ServeError FEEDBACK_SAMPLE_GONE, FEEDBACK_CONFLICTS, REQUEST_INVALID
 */
export function demandHeld(outcome: LabelOutcome, requestId: string, given: number): LabelOutcome {
  const { rows, joined, repeated, conflicting } = outcome;
  if (rows > 0 && rows < given) {
    throw invalid(`the request had ${rows} rows, and there are ${given} labels`, {
      remedy: 'Send one label, or null, for each row of the request; nothing of these was taken.',
    });
  }
  if (joined + repeated > 0) return outcome;
  throw conflicting > 0 ? conflict(requestId) : sampleGone(requestId);
}

export type HeldAnswer = Exclude<AnswerOutcome, 'conflicting' | 'gone' | 'unknown'>;

/** @throws ServeError LABEL_REQUEST_UNKNOWN, FEEDBACK_SAMPLE_GONE, FEEDBACK_CONFLICTS */
export function demandAnswered(outcome: AnswerOutcome, id: string): HeldAnswer {
  switch (outcome) {
    case 'conflicting':
      throw conflict(id);
    case 'gone':
      throw sampleGone(id);
    case 'unknown':
      throw new ServeError('LABEL_REQUEST_UNKNOWN', 'No label was asked for under this id, for this model.', {
        where: id,
        remedy: 'List what is asked for: drover-agent labels list MODEL, or GET …/labels.',
      });
    default:
      return outcome;
  }
}

const conflict = (where: string) =>
  new ServeError('FEEDBACK_CONFLICTS', 'What this label is for has another one already, which stays.', {
    where,
    remedy: 'Send ground truth once it is certain: the first label of a row counts.',
  });
const sampleGone = (where: string) =>
  new ServeError('FEEDBACK_SAMPLE_GONE', 'Nothing that this label is for is kept on this device.', {
    where,
    remedy: 'Check the id. Send ground truth sooner, or have the device keep more samples (telemetry.maxSamples).',
  });

const invalid = (why: string, { remedy }: { remedy: string }) =>
  new ServeError('REQUEST_INVALID', `The feedback cannot be taken: ${why}.`, { remedy });
