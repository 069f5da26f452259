import type { DeviceId, Digest, ModelName } from '@drover/shared/ids';
import type { PublicKey } from '@drover/shared/trust';

/** What an installer puts on a device, and what the trial wants of it. */
export interface DevicePlan {
  /** Absolute; also holds the launcher's record and the delivered agents. */
  readonly dataDir: string;
  readonly serverUrl: string;
  readonly deviceId: DeviceId;
  readonly model: ModelName;
  readonly hardwareClass: string;
  readonly site: string;
  /** root.json, as text. */
  readonly pinnedRoot: string;
  /** Input of the inference by which the trial checks what really serves. */
  readonly probe: readonly number[];
  /** Releases that fail every request once they serve. */
  readonly unhealthy: readonly Digest[];
  /** Releases of the agent that cannot reach the control plane. */
  readonly unreachable: readonly Digest[];
}

interface OrderInStep {
  readonly bytesBase64: string;
  readonly deploymentId: string;
}

/** One thing that the device does or is told in a life. `role` says what it is to the device, for example what an ordered release is. */
export type LifeStep =
  /** An order arrives; the step ends when the update has ended. */
  | (OrderInStep & { readonly kind: 'order'; readonly role: string; readonly model: ModelName })
  /** A second order arrives as soon as the first has reached `inState`. */
  | {
      readonly kind: 'supersede';
      readonly role: string;
      readonly model: ModelName;
      readonly first: OrderInStep;
      readonly second: OrderInStep;
      readonly inState: string;
    }
  /** Waits until an order that arrived in an earlier life has ended, or was ended by one after it. */
  | {
      readonly kind: 'carry-on';
      readonly role: string;
      readonly model: ModelName;
      readonly deploymentId: string;
      readonly epoch: number;
      readonly counter: number;
    }
  | { readonly kind: 'adapt'; readonly role: string; readonly file: string; readonly digest: Digest }
  | { readonly kind: 'drop-adaptation'; readonly role: string }
  /** A root-signed statement opens the next epoch. */
  | { readonly kind: 'recover'; readonly role: string; readonly bytesBase64: string; readonly epoch: number }
  /** The certificate is renewed. */
  | { readonly kind: 'renew'; readonly role: string };

/** Where the device kills itself, from step `fromStep` on; 0 is the restart. */
export type KillPlan = { readonly fromStep: number } & KillPlace & {
    /** Where that has not come before a step: at the nth write from there on, whichever that is. */
    readonly otherwise?: { readonly fromStep: number; readonly occurrence: number };
  };
export type KillPlace =
  /** At the nth passing of a moment; 1 is the first. */
  | { readonly at: 'moment'; readonly moment: string; readonly occurrence: number }
  /** At its nth write, whichever that is. */
  | { readonly at: 'write'; readonly occurrence: number }
  /** At the first kill point that is none of these, after some that are passed over; before its write or after it. */
  | {
      readonly at: 'unreached';
      readonly reached: readonly string[];
      readonly skip: number;
      readonly phase: 'before' | 'after';
    };

export interface LifePlan {
  readonly device: DevicePlan;
  readonly steps: readonly LifeStep[];
  readonly kill?: KillPlan;
}

/** What a life tells, one JSON line each, written synchronously so that it survives the kill that follows. */
export type LifeEvent =
  /** It has read its identity: who it is and which certificate it has. `isNew`: it had none and has just enrolled. */
  | {
      readonly event: 'identified';
      readonly publicKey: PublicKey;
      readonly certificate: string;
      readonly isNew: boolean;
    }
  /** After the restart (`atStep` 0) and after each step: a probe inference, or why there is none. */
  | {
      readonly event: 'examined';
      readonly atStep: number;
      readonly answer?: readonly number[];
      readonly error?: string;
      /** By digest: what applications are given as parameters of the model, and what the file of them holds. */
      readonly parameters?: { readonly given?: Digest; readonly file?: Digest };
      /** Version of the agent that runs, by the slot that the launcher has started. */
      readonly agentVersion: string;
    }
  /** A signed report as it left the outbox. */
  | { readonly event: 'report'; readonly bytesBase64: string }
  /** `receive` has resolved: the broker would now get the acknowledgement. */
  | { readonly event: 'acknowledged'; readonly deploymentId: string; readonly tookMs: number }
  | { readonly event: 'recovered'; readonly epoch: number }
  | { readonly event: 'renewed'; readonly certificate: string }
  /** An update did not end in its time. */
  | { readonly event: 'stuck'; readonly step: number; readonly state: string }
  | { readonly event: 'step-failed'; readonly step: number; readonly error: string }
  | { readonly event: 'refused'; readonly code: string; readonly what: string }
  | { readonly event: 'incident'; readonly code: string; readonly what: string }
  /** Moments as `momentOf` names them, and how often each was passed. */
  | { readonly event: 'killed'; readonly moment: string }
  | { readonly event: 'passed'; readonly moments: Readonly<Record<string, number>> }
  | { readonly event: 'ended' };

/** `before rename in writeDurably < storeManifest | fetching | upgrade` */
export const momentOf = (phase: string, site: string, state: string, role: string): string =>
  `${phase} ${site} | ${state} | ${role}`;

/** A kill point is a code site in a state of the update. Before or after the write, and for which kind of release, are moments of one point. */
export function killPointOf(moment: string): string {
  const [site = '', state = ''] = moment.split(' | ');
  return `${site.slice(site.indexOf(' ') + 1)} | ${state}`;
}
export const roleOf = (moment: string): string => moment.split(' | ')[2] ?? '';
