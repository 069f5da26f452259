import type { ModelName, Version } from '@drover/shared/ids';

/** Drawn evenly from what was served, or chosen because the model was unsure: only what is drawn says how often the model is right. */
export type LabelReason = 'random' | 'targeted';

/** One row of an earlier request that the agent would like to know the truth of. */
export interface LabelRequest {
  /** Never given again, also not by a new database. */
  readonly id: string;
  readonly model: ModelName;
  /** Of the release that served the row. */
  readonly version: Version;
  readonly requestId: string;
  readonly row: number;
  readonly reason: LabelReason;
  readonly requestedAtMs: number;
  readonly servedAtMs: number;
  /** Class index, and its probability; null where the answer was no number. */
  readonly prediction: number;
  readonly confidence: number | null;
  /** Missing where the model's inputs are not kept (several of them, or wide ones). */
  readonly features?: Float32Array;
}

/** Class index; null from somebody who can't tell either. */
export interface LabelAnswer {
  readonly id: string;
  readonly model: ModelName;
  readonly label: number | null;
  readonly atMs: number;
}

/** `declined`: nobody can tell. `gone`: the sample is no longer kept. `unknown`: no such request of this model, or not any more. */
export type AnswerOutcome = 'joined' | 'repeated' | 'conflicting' | 'declined' | 'gone' | 'unknown';

/** Where requests for labels lie, and are answered. Rejects with coded errors of the store. */
export interface LabelDesk {
  /** The open ones of a model, oldest first, at most 100. */
  labelRequests(model: ModelName): Promise<LabelRequest[]>;
  answerLabel(answer: LabelAnswer): Promise<AnswerOutcome>;
}
