import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ModelName } from '@drover/shared/ids';
import type { RunningModel } from '@drover/shared/protocol';
import type { InstalledModel, Replaced, ServedParameters, Serving } from '../../update/ports.js';
import type { InferenceSettings } from '../protocol/inference-server.js';
import type { Rejection } from '../parameters/board.js';
import type { InferenceRecord, LabelRecord } from '../recorder.js';

/** What the children of the supervisor are configured with. */
export interface ChildSettings {
  readonly providers: readonly string[];
  readonly hardwareClass: string;
}

export interface ListenSettings extends ChildSettings, InferenceSettings {
  readonly serverVersion: string;
}

export type ToInference =
  | {
      readonly kind: 'start';
      readonly settings: ListenSettings;
      readonly models: readonly InstalledModel[];
      readonly parameters: readonly ServedParameters[];
    }
  | { readonly kind: 'activate'; readonly call: number; readonly model: InstalledModel; readonly replaced: Replaced }
  | { readonly kind: 'deactivate' | 'drop-kept'; readonly call: number; readonly model: ModelName }
  | {
      readonly kind: 'set-parameters';
      readonly call: number;
      readonly model: ModelName;
      readonly parameters: ServedParameters | undefined;
    }
  | { readonly kind: 'stop' };

/** What the inference process serves after its start; models that could not be loaded again do not keep the others from serving. */
export interface Started {
  readonly port: number;
  readonly running: readonly { readonly model: ModelName; readonly running: RunningModel }[];
  readonly failed: readonly { readonly model: ModelName; readonly error: CodedErrorJson }[];
}

export type FromInference =
  | ({ readonly kind: 'started' } & Started)
  | { readonly kind: 'unstarted'; readonly error: CodedErrorJson }
  | { readonly kind: 'done'; readonly call: number; readonly running?: RunningModel }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson }
  | { readonly kind: 'batch'; readonly records: readonly InferenceRecord[]; readonly labels: readonly LabelRecord[] }
  | { readonly kind: 'parameters-rejected'; readonly model: ModelName; readonly rejection: Rejection }
  | { readonly kind: 'incident'; readonly error: CodedErrorJson };

export interface ToProbe {
  readonly candidate: InstalledModel;
  readonly settings: ChildSettings;
}

export type SelfTestOutcome = Awaited<ReturnType<Serving['selfTest']>>;

export type FromProbe =
  | { readonly kind: 'passed'; readonly outcome: SelfTestOutcome }
  | { readonly kind: 'failed'; readonly error: CodedErrorJson };
