import type { ModelName, Version } from '@drover/shared/ids';
import type { FileReference, Manifest, ManifestOf, OrderKind, Platform, ReleaseKind } from '@drover/shared/manifest';
import type { Deployment, Probation, RunningModel } from '@drover/shared/protocol';
import type { ReleaseRef } from '../accept.js';
import type { UpdateError } from '../errors.js';
import type {
  AgentRunner,
  InstalledAgent,
  InstalledModel,
  InstalledParameters,
  InstalledTrial,
  Serving,
  ServingHealth,
  TrialServing,
} from '../ports.js';
import type { Contract } from '../probation.js';
import type { VerifiedRelease } from '../release.js';
import type { ParametersInForce } from '../parameters/in-force.js';
import type { ReleaseStore } from '../store.js';

export interface InstalledOf {
  model: InstalledModel;
  agent: InstalledAgent;
  parameters: InstalledParameters;
  trial: InstalledTrial;
}

/** The manifest of what is ordered: a trial is one of a release of a model. */
export type ManifestFor<K extends OrderKind> = K extends ReleaseKind ? ManifestOf[K] : Manifest;

/** What about a device decides which part of a release is for it. */
export interface DeviceFacts {
  /** Decides which variant of a model is meant. */
  readonly hardwareClass: string;
  /** Decides which bundle of an agent is meant. */
  readonly platform: Platform;
  /** Decides which values of parameters are meant; absent on a device that was enrolled without one. */
  readonly site: string | undefined;
}

/** Who carries out what kinds of releases ask for. */
export interface Runners {
  readonly serving: Serving;
  readonly agent: AgentRunner;
  readonly parameters: ParametersInForce | undefined;
  readonly trials: TrialServing | undefined;
}

export interface KindContext extends Runners {
  readonly deployment: Deployment;
  /** The later of the wall clock and the time floor. */
  readonly nowMs: () => number;
  readonly store: ReleaseStore;
  readonly signal: AbortSignal;
}

/** How one candidate is watched in probation. */
export interface Watch {
  readonly probation: Probation;
  readonly contract: Contract | undefined;
  /** Counts since the candidate was put in force. */
  health(): ServingHealth;
  /** Ends probation at once, whatever the counts say. */
  broken(): UpdateError | undefined;
  /** It has run its course, with whatever counts: in words. `elapsedMs`: of probation. */
  over(elapsedMs: number): string | undefined;
  /** Why it may not be committed yet; after the longest time of probation it ends it. */
  unfit(): UpdateError | undefined;
  /** A last look before the commit, for the record. */
  testAgain(): Promise<string>;
}

/**
 * What a device does differently for one kind of order (docs/protocol.md, sections 3 and 6). Orders, journal, states and the way back are the same
 * for all of them; whatever is not, is a row of this table (kinds/index.ts).
 */
export interface Kind<K extends OrderKind> {
  /** Why this device takes no such orders; undefined where it does. */
  unable(runners: Runners): UpdateError | undefined;
  /** What an order must not go below without a grant. */
  base(committed: ReleaseRef | undefined, runners: Runners): ReleaseRef | undefined;
  /** Whether what is ordered has come to its end by the terms of the order, begun or not. */
  isOver(order: Deployment, nowMs: number): boolean;
  /** The files that this device needs, each under its own path. @throws ManifestError MANIFEST_NO_VARIANT */
  files(manifest: ManifestFor<K>, device: DeviceFacts): FileReference[];
  /** What a staged release is on this device. */
  installed(release: Installable<K>, device: DeviceFacts): InstalledOf[K];
  /** After manifest and files were checked by their digests. Returns what to add to the record. */
  verify(release: VerifiedRelease, device: DeviceFacts, context: KindContext): Promise<string>;
  stage(candidate: InstalledOf[K], context: KindContext): Promise<string>;
  selfTest(candidate: InstalledOf[K], context: KindContext): Promise<string>;
  activate(candidate: InstalledOf[K], context: KindContext): Promise<string>;
  watch(candidate: InstalledOf[K], context: KindContext): Watch;
  /** Before the journal says so: cut in between, it is done again. */
  commit(candidate: InstalledOf[K], runners: Runners): void;
  /** The candidate has proven itself: what was kept for the way back is not needed. */
  settled(name: ModelName, runners: Runners): Promise<void>;
  /** By the word of who runs it. */
  running(name: ModelName, runners: Runners): RunningModel | undefined;
  /** How the device goes back to what is committed, also after a restart. */
  readonly restore: Restore<K>;
}

export interface Installable<K extends OrderKind> {
  readonly model: ModelName;
  readonly release: { readonly version: Version; readonly digest: ReleaseRef['digest'] };
  readonly manifest: ManifestFor<K>;
  /** Absolute. */
  readonly directory: string;
}

/**
 * Either the device puts a chosen release in force, or somebody else decides and is told to, or there is nothing to go back to: what has run its course ends
 * like what failed, and nothing is committed.
 */
export type Restore<K extends OrderKind> =
  | {
      readonly by: 'activating';
      activate(target: InstalledOf[K], runners: Runners, signal: AbortSignal): Promise<string>;
      /** Nothing of this name is in force any more. */
      deactivate(name: ModelName, runners: Runners): Promise<void>;
    }
  | { readonly by: 'giving-up'; giveUp(runners: Runners): Promise<string> }
  | { readonly by: 'ending'; end(name: ModelName, runners: Runners): Promise<void> };
