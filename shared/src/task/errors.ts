import { CodedError, type CodeTable, type ErrorFacts } from '../coded-error/index.js';

export const TASK_CODES = {
  /** What a manifest says of its task contradicts itself, or the outputs of the model. */
  TASK_UNFIT: { fault: 'caller', retryable: false },
  /** An answer of the model has not the shape that its task needs. */
  TASK_OUTPUT_UNFIT: { fault: 'caller', retryable: false },
  /** Answers of two tasks have no measure in common. */
  TASK_KINDS_DIFFER: { fault: 'caller', retryable: false },
} as const satisfies CodeTable;

export class TaskError extends CodedError<keyof typeof TASK_CODES> {
  constructor(code: keyof typeof TASK_CODES, what: string, facts: ErrorFacts) {
    super(TASK_CODES, code, what, facts);
  }
}

export const taskUnfit = (why: string): TaskError =>
  new TaskError('TASK_UNFIT', `The task does not fit the model: ${why}.`, {
    remedy:
      'Publish it again with the options of its task (`drover model publish --help`); `drover model check` shows the outputs.',
  });

export const outputUnfit = (output: string, why: string): TaskError =>
  new TaskError('TASK_OUTPUT_UNFIT', `The output "${output}" cannot be read as its task says: ${why}.`, {
    remedy: 'Publish the model again with a task that fits its outputs, or as plain tensors.',
    where: output,
  });
