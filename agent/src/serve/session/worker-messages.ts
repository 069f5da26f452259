import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ProviderReport } from '@drover/shared/protocol';
import type { Tolerance } from '@drover/shared/tensors';
import type { InstalledModel } from '../../update/ports.js';
import type { SessionOptions } from './model-session.js';
import type { TensorMap } from '../tensors/tensor.js';
import type { Compared } from '../trials/compared.js';

/** What a session worker is started with. */
export interface SessionWorkerData {
  readonly model: InstalledModel;
  readonly options: SessionOptions;
  /** Runs are compared with what was answered. */
  readonly tolerance?: Tolerance | undefined;
}

export interface RunMessage {
  readonly call: number;
  readonly inputs: TensorMap;
  /** To be compared with, in place of giving the outputs. */
  readonly answered?: TensorMap | undefined;
}

export type SessionWorkerMessage =
  | { readonly kind: 'opened'; readonly provider: ProviderReport }
  | { readonly kind: 'unopened'; readonly error: CodedErrorJson }
  | { readonly kind: 'ran'; readonly call: number; readonly outputs: TensorMap }
  | { readonly kind: 'compared'; readonly call: number; readonly compared: Compared }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson };
