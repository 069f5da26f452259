import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { FineTuneRequest, FineTuneResult } from './fine-tune.js';
import type { TrainingProgress } from './trainer.js';

/** What the parent sends, once: the job and the limits within which to do it. */
export interface TrainerJob {
  readonly request: FineTuneRequest;
  /** POSIX niceness, 0 to 19. */
  readonly niceness: number;
  /** Resident memory above which the trainer stops itself between two slices. */
  readonly maxMemoryBytes: number;
}

/** What the trainer answers: any number of `progress`, then one `done` or `failed`. */
export type TrainerAnswer =
  | ({ readonly kind: 'progress' } & TrainingProgress)
  | { readonly kind: 'done'; readonly result: FineTuneResult }
  | { readonly kind: 'failed'; readonly error: CodedErrorJson };
