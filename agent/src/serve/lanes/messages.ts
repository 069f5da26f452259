import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import type { InstalledModel, ServedParameters } from '../../update/ports.js';
import type { GivenLabel } from '../inline/feedback.js';
import type { Grantable } from '../inline/active-model.js';
import type { InferenceRequest } from '../inline/served-models.js';
import type { ForeignComparison } from '../trials/compared.js';
import type { Batch } from '../process/batching-recorder.js';
import type { Rejection } from '../parameters/board.js';
import type { ListenSettings } from '../process/messages.js';
import type { ListenerPlace } from '../protocol/listener.js';
import type { Region } from '../protocol/shared-memory.js';

/** Descriptors of sockets that listen, of which the lane is the only owner. */
export type Descriptors = Readonly<Partial<Record<ListenerPlace, number>>>;

/** What a lane is started with. */
export interface LaneData {
  readonly settings: ListenSettings;
  readonly descriptors: Descriptors;
  readonly models: readonly InstalledModel[];
  readonly regions: readonly Region[];
  readonly turns: SharedArrayBuffer;
  /** Of the lane, among the threads that take turns. */
  readonly thread: number;
}

/** What a lane is told; each is answered by `done` or `failed`. */
export type Command =
  /** All models that are served now. */
  | { readonly kind: 'served'; readonly models: readonly InstalledModel[] }
  /** The lane may answer for this model itself, with this trial beside it. */
  | ({ readonly kind: 'grant'; readonly parameters: ServedParameters | undefined } & Grantable)
  /** Done when its last run of this model has ended. */
  | { readonly kind: 'withdraw'; readonly model: ModelName }
  | { readonly kind: 'regions'; readonly regions: readonly Region[] }
  /** Done when all that it has served was handed over. */
  | { readonly kind: 'flush' }
  /** Done when it accepts nothing any more. */
  | { readonly kind: 'give-way' }
  | { readonly kind: 'end'; readonly how: 'close' | 'retire' };

/** An inference for the other thread. Clocks of threads begin at different times: its deadline is what is left. */
export interface ForeignInference extends Omit<InferenceRequest, 'signal' | 'deadlineMs'> {
  readonly leftMs: number | undefined;
}

/** What a lane can't answer itself. */
export type Question =
  | { readonly kind: 'infer'; readonly request: ForeignInference }
  /** What the candidate on trial makes of these inputs. */
  | ({ readonly kind: 'compare' } & ForeignComparison)
  | {
      readonly kind: 'feedback';
      readonly model: string;
      readonly requestId: string;
      readonly labels: readonly GivenLabel[];
    }
  | { readonly kind: 'label-requests'; readonly model: string }
  | { readonly kind: 'answer-label'; readonly model: string; readonly id: string; readonly label: GivenLabel }
  | { readonly kind: 'parameters'; readonly model: string }
  | { readonly kind: 'reject-parameters'; readonly model: string; readonly rejection: Rejection }
  | { readonly kind: 'register'; readonly region: Region }
  | { readonly kind: 'unregister'; readonly name: string | undefined };

export type ToLane =
  | { readonly kind: 'command'; readonly call: number; readonly command: Command }
  | { readonly kind: 'answered'; readonly call: number; readonly answer: unknown }
  | { readonly kind: 'refused'; readonly call: number; readonly error: CodedErrorJson };

export type FromLane =
  /** It listens. */
  | { readonly kind: 'started' }
  | { readonly kind: 'unstarted'; readonly error: CodedErrorJson }
  | { readonly kind: 'done'; readonly call: number }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson }
  | { readonly kind: 'asked'; readonly call: number; readonly question: Question }
  /** Nobody waits for the answer to this question any more. */
  | { readonly kind: 'gone'; readonly call: number }
  | ({ readonly kind: 'batch' } & Omit<Batch, 'labels'>)
  | { readonly kind: 'incident'; readonly error: CodedErrorJson };
