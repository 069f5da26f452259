import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ProviderReport } from '@drover/shared/protocol';
import type { InstalledModel } from '../../update/ports.js';
import type { SessionOptions } from './model-session.js';
import type { TensorMap } from '../tensors/tensor.js';

/** What a session worker is started with. */
export interface SessionWorkerData {
  readonly model: InstalledModel;
  readonly options: SessionOptions;
}

export interface RunMessage {
  readonly call: number;
  readonly inputs: TensorMap;
}

export type SessionWorkerMessage =
  | { readonly kind: 'opened'; readonly provider: ProviderReport }
  | { readonly kind: 'unopened'; readonly error: CodedErrorJson }
  | { readonly kind: 'ran'; readonly call: number; readonly outputs: TensorMap }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson };
