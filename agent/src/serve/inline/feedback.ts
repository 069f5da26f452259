import type { InstalledModel } from '../../update/ports.js';
import { ServeError } from '../errors.js';
import type { AnswerOutcome } from '../label-desk.js';
import type { LabelOutcome } from '../recorder.js';

/** A class by its index or its name; null where it is not known (yet). */
export type GivenLabel = number | string | null;

/** Class indices, by the labels of the release that serves. @throws ServeError REQUEST_INVALID */
export function classesOf({ model, manifest: { task } }: InstalledModel, labels: readonly GivenLabel[]) {
  if (task.type !== 'classification') {
    throw invalid(`${model} is a model for ${task.type}; labels are for classification`, {
      remedy: 'Send labels to classification models only.',
    });
  }
  if (labels.every((label) => label === null)) {
    throw invalid('no row has a label', {
      remedy: 'Send at least one; null is for rows whose truth is not known yet.',
    });
  }
  const names = labels.some((label) => typeof label === 'string') ? indicesByName(task.labels ?? []) : undefined;
  const classes = task.labels?.length ?? Infinity;
  return labels.map((label) => {
    const index = typeof label === 'string' ? names?.get(label) : label;
    if (index === null || (index !== undefined && Number.isInteger(index) && index >= 0 && index < classes))
      return index;
    throw invalid(`${model} has no class ${JSON.stringify(label).slice(0, 200)}`, {
      remedy: `Send for each row the index of its class${classes === Infinity ? '' : `, 0 to ${classes - 1}`}, its name as the release has it, or null.`,
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
