import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { GoldenTested, InstalledModel, Replaced, ServedParameters, Trial } from '../../update/ports.js';
import type { InferenceSettings } from '../protocol/inference-server.js';
import type { ListenerPlace } from '../protocol/listener.js';
import type { Region } from '../protocol/shared-memory.js';
import type { Rejection } from '../parameters/board.js';
import type { LabelOutcome } from '../recorder.js';
import type { Batch } from './batching-recorder.js';
import type { DeskQuestion, DeskReply } from './remote-desk.js';

/** What the children of the supervisor are configured with. */
export interface ChildSettings {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
}

export interface ListenSettings extends ChildSettings, InferenceSettings {
  readonly serverVersion: string;
  /** How long a request may wait for others to be run with, while a session is free; not at all unless given. */
  readonly maxBatchDelayMs?: number | undefined;
  /** That speak the protocol; 1 unless given. */
  readonly protocolThreads?: number | undefined;
}

/** What a life of the inference process begins with. */
export interface Beginning {
  /** There was a process before this one. */
  readonly isRestart: boolean;
  readonly settings: ListenSettings;
  readonly models: readonly InstalledModel[];
  readonly parameters: readonly ServedParameters[];
  readonly regions: readonly Region[];
  /** It shall take over from one that serves: then it does not start unless it has loaded every model, and listens only when it is told to. */
  readonly relieves: boolean;
}

export type ToInference =
  /** Comes with a socket that listens, before the start. */
  | { readonly kind: 'listener'; readonly place: ListenerPlace }
  | ({ readonly kind: 'start' } & Beginning)
  /** The one before it has given way, with these regions. */
  | { readonly kind: 'take-over'; readonly regions: readonly Region[] }
  /** Comes with the socket again, for a further thread. */
  | { readonly kind: 'lent'; readonly place: ListenerPlace }
  | { readonly kind: 'activate'; readonly call: number; readonly model: InstalledModel; readonly replaced: Replaced }
  | { readonly kind: 'deactivate' | 'drop-kept' | 'end-trial'; readonly call: number; readonly model: ModelName }
  | {
      readonly kind: 'set-parameters';
      readonly call: number;
      readonly model: ModelName;
      readonly parameters: ServedParameters | undefined;
    }
  | { readonly kind: 'start-trial'; readonly call: number; readonly trial: Trial }
  | { readonly kind: 'labelled'; readonly call: number; readonly outcome: LabelOutcome }
  | { readonly kind: 'label-failed'; readonly call: number; readonly error: CodedErrorJson }
  | { readonly kind: 'desk-told'; readonly call: number; readonly reply: DeskReply }
  | { readonly kind: 'desk-failed'; readonly call: number; readonly error: CodedErrorJson }
  | { readonly kind: 'stop' | 'retire' };

/** What the inference process serves after its start; models that could not be loaded again do not keep the others from serving. */
export interface Started {
  readonly port: number;
  readonly running: readonly { readonly model: ModelName; readonly running: RunningModel }[];
  readonly failed: readonly { readonly model: ModelName; readonly error: CodedErrorJson }[];
}

export type FromInference =
  /** Comes with the socket, which whoever takes over can listen on. */
  | { readonly kind: 'listening'; readonly place: ListenerPlace }
  | { readonly kind: 'regions'; readonly regions: readonly Region[] }
  /** It can take over. */
  | { readonly kind: 'loaded' }
  | ({ readonly kind: 'started' } & Started)
  | { readonly kind: 'unstarted'; readonly error: CodedErrorJson }
  /** As it was asked to: it accepts no connection any more, and answers no request that comes on those that it has. */
  | { readonly kind: 'gave-way' }
  | { readonly kind: 'done'; readonly call: number; readonly running?: RunningModel }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson }
  | ({ readonly kind: 'batch' } & Batch)
  | { readonly kind: 'desk-asked'; readonly call: number; readonly question: DeskQuestion }
  | { readonly kind: 'parameters-rejected'; readonly model: ModelName; readonly rejection: Rejection }
  /** The thread of a candidate ended by itself. */
  | { readonly kind: 'trial-lost'; readonly model: ModelName; readonly error: CodedErrorJson }
  | { readonly kind: 'incident'; readonly error: CodedErrorJson };

export interface ToProbe {
  readonly candidate: InstalledModel;
  readonly settings: ChildSettings;
}

export interface ProbeOutcome extends Omit<GoldenTested, 'swap'> {
  /** By how much the probe grew at most while it loaded and ran the candidate. */
  readonly needMiB: number;
}

export type FromProbe =
  | { readonly kind: 'passed'; readonly outcome: ProbeOutcome }
  | { readonly kind: 'failed'; readonly error: CodedErrorJson };
