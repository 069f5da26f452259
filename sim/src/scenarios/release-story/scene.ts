import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { Manifest } from '@drover/shared/manifest';
import type { Examples } from '@drover/agent/learn';
import type { Profile } from '@drover/shared/profile';
import type { DriftThresholds } from '@drover/shared/statistics';
import type { AgentProcess, Application, ControlPlaneProcess, Device, Publisher } from '../../fleet/index.js';
import type { World } from '../../world/index.js';
import type { Attacker } from './attacker.js';

/** A step that is broken on purpose, to prove that the story notices. */
export type Sabotage = 'rollout' | 'drift' | 'fine-tune' | 'bad-release' | 'refusals';

/** Everything that is fixed before the story begins. */
export interface Scene {
  readonly seed: number;
  readonly devices: number;
  readonly signal: AbortSignal;
  readonly workDir: string;
  readonly world: World;
  /** Streams that a training set spreads over; the real data do not tell which of them a row came from. */
  readonly trainingStreams: number;
  readonly model: ModelName;
  readonly controlPlane: ControlPlaneProcess;
  readonly publisher: Publisher;
  readonly sabotage: Sabotage | undefined;
  readonly say: (line: string) => void;
}

/** Labelled rows, divided once: no row is in two parts. */
export interface Portions {
  readonly train: Examples;
  readonly holdout: Examples;
  /** Sealed: examines adaptations, never trained on. */
  readonly anchor: Examples;
}

export interface TrainedModel {
  readonly bytes: Uint8Array;
  readonly portions: Portions;
  /** What the rows that it was trained for look like, and when a window of others is drift. */
  readonly reference: { readonly profile: Profile; readonly thresholds: DriftThresholds };
  readonly heldOut: { readonly accuracy: number; readonly rows: number };
  readonly run: NonNullable<Manifest['lineage']['run']>;
}

export interface PublishedRelease {
  readonly version: Version;
  readonly digest: Digest;
  readonly manifest: Manifest;
}

/** What the steps leave for those after them. A step that needs what an earlier one did not leave fails by `need`. */
export interface Facts {
  firstModel?: TrainedModel;
  readonly releases: Map<string, PublishedRelease>;
  readonly fleet: Device[];
  agent?: AgentProcess;
  attacker?: Attacker;
  readonly applications: Map<string, Application>;
  /** Devices whose applications send wrong truth: sabotage of the fine-tune. */
  readonly mislabelled: Set<string>;
  /** Accuracy in the field with 1.0.0 before the change. */
  accuracyBefore?: number;
  accuracyDrifted?: number;
  /** What the changed world looks like. */
  driftedReference?: TrainedModel['reference'];
  /** Called in reverse order when the story is over. */
  readonly closers: (() => Promise<void>)[];
}

export const newFacts = (): Facts => ({
  releases: new Map(),
  fleet: [],
  applications: new Map(),
  mislabelled: new Set(),
  closers: [],
});

export function need<Value>(value: Value | undefined, what: string): Value {
  if (value === undefined) throw new Error(`This step needs ${what}, which an earlier step did not leave.`);
  return value;
}

export async function folder(scene: Scene, name: string): Promise<string> {
  const path = join(scene.workDir, name);
  await mkdir(path, { recursive: true });
  return path;
}

/** How fast the story lives. A real fleet reports once a minute; here two reports a second make the statistics of days pass in seconds. */
export const PACE = { telemetryIntervalMs: 500, requestIntervalMs: 400, rowsPerRequest: 24 } as const;

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
