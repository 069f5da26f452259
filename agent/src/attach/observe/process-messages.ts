import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { Digest, ModelName } from '@drover/shared/ids';
import type { Batch } from '../../serve/process/batching-recorder.js';
import type { LabelOutcome } from '../../serve/recorder.js';
import type { InstalledModel } from '../../update/ports.js';

/** What an application of a model may have loaded. */
export interface ExpectedReleases {
  readonly model: ModelName;
  /** Of the link. */
  readonly path: string;
  /** The one that the link leads to first, then what it replaced. */
  readonly releases: readonly InstalledModel[];
}

export interface ObserveSettings {
  readonly socket: string;
  readonly maxObservationsPerSecond: number;
}

export type ToObserve =
  | { readonly kind: 'start'; readonly settings: ObserveSettings; readonly expected: readonly ExpectedReleases[] }
  | { readonly kind: 'expect'; readonly expected: ExpectedReleases }
  /** What became of a label of a batch. */
  | { readonly kind: 'labelled'; readonly call: number; readonly outcome: LabelOutcome }
  | { readonly kind: 'label-failed'; readonly call: number; readonly error: CodedErrorJson }
  | { readonly kind: 'stop' };

/** What an application said or did. `connection` is a number that no other connection of this process has. */
export type Said = { readonly connection: number; readonly model: ModelName } & (
  | { readonly what: 'hello'; readonly runtime?: string | undefined }
  | { readonly what: 'loaded'; readonly digest: Digest }
  | { readonly what: 'refused'; readonly digest: Digest; readonly reason: string }
  /** `farewell`: it said that it would go. */
  | { readonly what: 'left'; readonly farewell: boolean }
);

export type FromObserve =
  | { readonly kind: 'started' }
  | { readonly kind: 'unstarted'; readonly error: CodedErrorJson }
  | { readonly kind: 'said'; readonly said: Said }
  | ({ readonly kind: 'batch' } & Batch);
