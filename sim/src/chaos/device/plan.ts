import type { DeviceId, Digest, ModelName } from '@drover/shared/ids';
import type { KeyPair, KeySet } from '@drover/shared/trust';

/** What a device knows from its enrolment, and what the trial wants of it. */
export interface DevicePlan {
  readonly dataDir: string;
  readonly serverUrl: string;
  readonly credential: string;
  readonly deviceId: DeviceId;
  readonly model: ModelName;
  readonly hardwareClass: string;
  /** root.json, as text. */
  readonly pinnedRoot: string;
  readonly director: KeySet;
  readonly deviceKey: KeyPair;
  /** Input of the inference by which the trial checks what really serves. */
  readonly probe: readonly number[];
  /** Releases that fail every request once they serve. */
  readonly unhealthy: readonly Digest[];
}

/** One thing that the device does or is told in a life. `role` says what the model of this step is to the device. */
export type LifeStep =
  /** An order arrives; the step ends when the update has ended. */
  | { readonly kind: 'order'; readonly role: string; readonly bytesBase64: string; readonly deploymentId: string }
  /** A second order arrives as soon as the first has reached `inState`. */
  | {
      readonly kind: 'supersede';
      readonly role: string;
      readonly first: { readonly bytesBase64: string; readonly deploymentId: string };
      readonly second: { readonly bytesBase64: string; readonly deploymentId: string };
      readonly inState: string;
    }
  /** Waits until an order that arrived in an earlier life has ended, or was ended by one after it. */
  | { readonly kind: 'carry-on'; readonly role: string; readonly deploymentId: string; readonly counter: number }
  | { readonly kind: 'adapt'; readonly role: string; readonly file: string; readonly digest: Digest }
  | { readonly kind: 'drop-adaptation'; readonly role: string };

/** Where the device kills itself: at the nth passing of a point. */
export interface KillPlan {
  /** Any point where undefined. */
  readonly point?: string;
  /** 1 is the first. */
  readonly occurrence: number;
}

export interface LifePlan {
  readonly device: DevicePlan;
  readonly steps: readonly LifeStep[];
  readonly kill?: KillPlan;
}

/** What a life tells, one JSON line each, written synchronously so that it survives the kill that follows. */
export type LifeEvent =
  /** After the restart (`atStep` 0) and after each step: a probe inference, or why there is none. */
  | {
      readonly event: 'examined';
      readonly atStep: number;
      readonly answer?: readonly number[];
      readonly error?: string;
    }
  /** A signed report as it left the outbox. */
  | { readonly event: 'report'; readonly bytesBase64: string }
  /** `receive` has resolved: the broker would now get the acknowledgement. */
  | { readonly event: 'acknowledged'; readonly deploymentId: string; readonly tookMs: number }
  /** An update did not end in its time. */
  | { readonly event: 'stuck'; readonly step: number; readonly state: string }
  | { readonly event: 'step-failed'; readonly step: number; readonly error: string }
  | { readonly event: 'refused'; readonly code: string; readonly what: string }
  | { readonly event: 'incident'; readonly code: string; readonly what: string }
  | { readonly event: 'killed'; readonly point: string }
  | { readonly event: 'points'; readonly passed: Readonly<Record<string, number>> }
  | { readonly event: 'ended' };
