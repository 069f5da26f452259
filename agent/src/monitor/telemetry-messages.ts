import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { TelemetryOptions } from './sqlite-telemetry.js';
import type { TelemetryStore } from './telemetry-store.js';

export type TelemetryThreadData = Pick<TelemetryOptions, 'file' | 'maxSamples' | 'maxVerdicts'>;

export type TelemetryCall = {
  readonly [Method in keyof TelemetryStore]: {
    readonly call: number;
    readonly method: Method;
    readonly args: Parameters<TelemetryStore[Method]>;
  };
}[keyof TelemetryStore];

export type TelemetryMessage =
  | { readonly kind: 'opened' }
  | { readonly kind: 'unopened'; readonly error: CodedErrorJson }
  | { readonly kind: 'incident'; readonly error: CodedErrorJson }
  | { readonly kind: 'result'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly call: number; readonly error: CodedErrorJson };
