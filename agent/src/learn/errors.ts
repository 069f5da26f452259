import { CodedError, type CodeTable, type ErrorFacts } from '@drover/shared/coded-error';

export const LEARN_CODES = {
  /** The model has, between its trainable weights and its logits, an operator whose gradient we do not have. */
  LEARN_UNSUPPORTED_OPERATOR: { fault: 'caller', retryable: false },
  /** It cannot be told which value of the model holds the class scores. */
  LEARN_NO_LOGITS: { fault: 'caller', retryable: false },
  /** A named weight is no float32 initializer that the logits depend on, or the model has none. */
  LEARN_NOT_TRAINABLE: { fault: 'caller', retryable: false },
  /** Examples that do not fit each other or the model: sizes, label range, values that are not finite. */
  LEARN_EXAMPLES_INVALID: { fault: 'caller', retryable: false },
  LEARN_RECIPE_INVALID: { fault: 'caller', retryable: false },
  /** A checkpoint of another model, recipe or set of examples. */
  LEARN_CHECKPOINT_MISMATCH: { fault: 'caller', retryable: false },
  /** The loss is no longer a finite number. */
  LEARN_DIVERGED: { fault: 'caller', retryable: false },
  /** Stopped through its AbortSignal. */
  LEARN_ABORTED: { fault: 'caller', retryable: true },
  /** ONNX Runtime refused or failed a graph. */
  LEARN_RUNTIME_FAILED: { fault: 'environment', retryable: false },
  /** The trainer process outgrew its memory limit and stopped itself. */
  LEARN_MEMORY_EXCEEDED: { fault: 'environment', retryable: false },
  /** The trainer process ended without an answer: killed, out of memory, crashed. */
  LEARN_TRAINER_DIED: { fault: 'environment', retryable: true },
  /** An adaptation document that does not follow its schema. */
  LEARN_ADAPTATION_INVALID: { fault: 'peer', retryable: false },
} as const satisfies CodeTable;

export type LearnCode = keyof typeof LEARN_CODES;

export class LearnError extends CodedError<LearnCode> {
  constructor(code: LearnCode, what: string, facts: ErrorFacts) {
    super(LEARN_CODES, code, what, facts);
  }
}

export const isLearnCode = (code: string): code is LearnCode => Object.hasOwn(LEARN_CODES, code);
