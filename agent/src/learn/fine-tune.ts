import { evaluateClassifier, type Evaluation } from './evaluate.js';
import { mixReplay, type Examples } from './examples.js';
import type { TrainingRecipe } from './recipe.js';
import { train, type TrainingProgress } from './trainer.js';

/** One fine-tuning job. Plain data, because it goes to the trainer process. */
export interface FineTuneRequest {
  readonly kind: 'fine-tune';
  /** The inference model to start from, ONNX. */
  readonly model: Uint8Array;
  /** Fresh labelled examples. */
  readonly train: Examples;
  /** Old examples to mix in against forgetting; needed when replayShare is above 0. */
  readonly replay?: Examples;
  /** Fresh labelled examples to judge by; none of them may be in `train`. */
  readonly holdout: Examples;
  /** Sealed examples of the original task to judge by; none of them may be in `replay`. */
  readonly anchor: Examples;
  readonly recipe: TrainingRecipe;
  /** Share of the training set that is replayed: 0.5 mixes one to one. */
  readonly replayShare: number;
  readonly logits?: string;
}

export interface FineTuneResult {
  /** The inference model with the new weights. */
  readonly model: Uint8Array;
  readonly steps: number;
  readonly losses: Float32Array;
  readonly before: { readonly holdout: Evaluation; readonly anchor: Evaluation };
  readonly after: { readonly holdout: Evaluation; readonly anchor: Evaluation };
}

export interface FineTuneOptions {
  readonly request: FineTuneRequest;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: TrainingProgress) => void;
}

/** Trains in this process, and judges the model before and after on the same examples. @throws as `train` and `evaluateClassifier` */
export async function fineTune({ request, signal, onProgress }: FineTuneOptions): Promise<FineTuneResult> {
  const logits = request.logits === undefined ? {} : { logits: request.logits };
  const judge = async (model: Uint8Array) => ({
    holdout: await evaluateClassifier(model, request.holdout, { signal, ...logits }),
    anchor: await evaluateClassifier(model, request.anchor, { signal, ...logits }),
  });
  const before = await judge(request.model);
  const examples = mixReplay(request.train, request.replay, request.replayShare, request.recipe.seed);
  const trained = await train({
    model: request.model,
    examples,
    recipe: request.recipe,
    signal,
    ...logits,
    ...(onProgress ? { onProgress } : {}),
  });
  return { ...trained, before, after: await judge(trained.model) };
}
