import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { AgentManifest, AgentVariant, Manifest, ParametersManifest, Variant } from '@drover/shared/manifest';
import type { CodedErrorJson } from '@drover/shared/coded-error';
import type { ProviderReport, RunningModel, TrialTerms } from '@drover/shared/protocol';
import type { Agreement } from '@drover/shared/task';

/** A release (or an adaptation of one) whose files lie verified on this disk: all that serving needs to load it. */
export interface InstalledModel {
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  readonly manifest: Manifest;
  readonly variant: Variant;
  /** Absolute path of the file to load; for an adaptation: the fine-tuned file. */
  readonly modelFile: string;
  /** Digest of modelFile's bytes. */
  readonly loaded: Digest;
  readonly adaptation?: Digest;
  /** Absolute; the files of the release lie under their manifest paths. */
  readonly directory: string;
}

/** A release of the agent whose bundle lies verified on this disk. */
export interface InstalledAgent {
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  readonly manifest: AgentManifest;
  readonly variant: AgentVariant;
  /** Absolute. */
  readonly bundleFile: string;
  /** Digest of bundleFile's bytes. */
  readonly loaded: Digest;
  readonly directory: string;
}

/** Parameters of a model as they are for the site of this device. */
export interface InstalledParameters {
  /** The name of the line, not of the model. */
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  readonly manifest: ParametersManifest;
  /** What applications get (parameters/values-document.ts). */
  readonly document: Buffer;
  /** Digest of the document. */
  readonly loaded: Digest;
  readonly directory: string;
}

/** A release of a model that is to be tried beside the one that serves. */
export interface InstalledTrial {
  /** The name of the trial, not of the model. */
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  readonly manifest: Manifest;
  /** The release as it would serve. */
  readonly candidate: InstalledModel;
  /** Digest of the bytes of the model's file. */
  readonly loaded: Digest;
  readonly directory: string;
}

/** What an update can be about. */
export type Installed = InstalledModel | InstalledAgent | InstalledParameters | InstalledTrial;

export const isModel = (installed: Installed): installed is InstalledModel => 'modelFile' in installed;

/** Counts since the activation of what is running now. */
export interface ServingHealth {
  readonly requests: number;
  readonly failures: number;
  readonly crashes: number;
  readonly latencyP99Us?: number;
  /** By how much the process that serves has grown since the activation, where that can be told. */
  readonly memoryMiB?: number;
}

/**
 * What becomes of the session that an activation replaces: `keep` leaves it loaded beside the candidate, where memory allows it, so that the way
 * back takes no time; `close` and `stop-first` end it, after and before the candidate is loaded.
 */
export type Replaced = 'keep' | 'close' | 'stop-first';

/** How an activation that replaces something will go, by what memory there is. */
export interface SwapOutlook {
  readonly how: 'beside' | 'stop-first';
  readonly needMiB: number;
  readonly availableMiB: number;
}

/** How a candidate answered to the golden vectors. */
export interface GoldenCompared {
  /** Largest |actual − expected|, element by element, as far as shapes are the same. */
  readonly worstDifference: number;
  /** Where elements were beyond the tolerance, and the measure of the task has decided. */
  readonly agreement?: Pick<Agreement, 'measure' | 'value' | 'compared'>;
}

/** How a candidate did in its self-test. */
export interface GoldenTested extends GoldenCompared {
  readonly provider: ProviderReport;
  readonly latencyUs: number;
  readonly swap?: SwapOutlook;
}

/** How a candidate stood its test; in words where it was not by golden vectors. */
export type SelfTested = GoldenTested | { readonly said: string };

/** What the updater needs of whoever runs models. */
export interface Serving {
  /**
   * Loads the candidate apart from what serves (a throwaway probe process on a real device), runs every golden vector,
   * checks parity, the contract's latency, and whether the device has the memory. Throws a CodedError (SELF_TEST_FAILED, MODEL_UNLOADABLE, MEMORY_INSUFFICIENT, …).
   */
  selfTest(candidate: InstalledModel, signal: AbortSignal): Promise<SelfTested>;
  /**
   * Loads it, proves the provider by a run, switches new requests to it and drains the old; replaces any model of the same name.
   * Where there is no memory for both, the old one stops first, and the outage becomes an incident. Resolves with what is really loaded. What was kept is switched to at once when it is activated again, and dropped when another one is.
   * With `close`, undefined where it lies ready for an application of its own that has not said yet that it loaded it.
   */
  activate(candidate: InstalledModel, signal: AbortSignal, replaced?: Replaced): Promise<RunningModel | undefined>;
  /** What an activation kept is not needed any more: the candidate has proven itself. */
  dropKept(model: ModelName): Promise<void>;
  /** Stops serving a model. */
  deactivate(model: ModelName): Promise<void>;
  running(model: ModelName): RunningModel | undefined;
  health(model: ModelName): ServingHealth;
}

/** A release and how it is tried. */
export interface Trial {
  readonly candidate: InstalledModel;
  readonly terms: TrialTerms;
}

/** How a trial goes, by the word of who runs it. */
export interface TrialStanding {
  /** Undefined while it is being started again, and when it was given up. */
  readonly running: RunningModel | undefined;
  /** Why it was given up: the third crash of the process, the end of its thread, a candidate that could not be loaded again. */
  readonly lost?: CodedErrorJson | undefined;
}

/** Who tries a release beside the one that serves. There is at most one trial of a model. */
export interface TrialServing {
  /** What serves, or will as soon as it can: what a release of the model would be tried beside. */
  active(model: ModelName): InstalledModel | undefined;
  /**
   * Loads the candidate and begins; replaces an earlier trial of the model. Survives restarts of whoever serves, up to the third crash. While the
   * candidate does not fit what serves, it is left out of it and nothing is lost.
   */
  startTrial(trial: Trial, signal: AbortSignal): Promise<RunningModel>;
  /** Requests that the candidate has begun are finished. Does nothing where there is no trial. */
  endTrial(model: ModelName): Promise<void>;
  /** Undefined where there is none. */
  trial(model: ModelName): TrialStanding | undefined;
}

/** Values as they are given to applications. */
export interface ServedParameters {
  /** The model that they are for. */
  readonly model: ModelName;
  readonly release: { version: Version; digest: Digest };
  /** Releases of the model that they are for. */
  readonly compatible: string;
  /** Digest of the document. */
  readonly loaded: Digest;
  /** JSON. */
  readonly document: string;
}

/** Who gives applications the parameters of a model. */
export interface ParameterServing {
  /**
   * From now on these are the parameters of the model, or it has none. Every request that begins after it resolves sees them, whole, as long as the
   * model that serves is one that they are for. Survives restarts of whoever serves.
   */
  setParameters(model: ModelName, parameters: ServedParameters | undefined, signal: AbortSignal): Promise<void>;
  /** What applications get now; undefined also while nothing serves, or another release than the parameters are for. */
  parametersInForce(model: ModelName): ServedParameters | undefined;
  /** What an application last refused, and why, since they were set. */
  parametersRejected(model: ModelName): { readonly digest: Digest; readonly reason: string } | undefined;
}

/**
 * Who runs releases of the agent itself. Unlike models, they are not loaded into anything: to activate one is to end, and what runs after the
 * start was decided by the launcher. Hence what is running never has to be activated again after a restart.
 */
export interface AgentRunner {
  /** Lays the version out beside the running one. @throws UpdateError AGENT_BUNDLE_UNREADABLE, UPDATE_DISK_FULL */
  stage(candidate: InstalledAgent, signal: AbortSignal): Promise<void>;
  /** Starts the version's own check, in a process of its own. @throws UpdateError AGENT_SELF_TEST_FAILED */
  selfTest(candidate: InstalledAgent, signal: AbortSignal): Promise<string>;
  /**
   * Resolves when the version is the one that runs. Where it is not, asks the launcher for it, ends this agent, and never resolves.
   *
   * @param commitWithinMs time from the start of the version to its commit, after which the launcher takes it back
   * @throws UpdateError AGENT_TAKEN_BACK when the launcher has tried it already, and why it gave it up
   */
  activate(candidate: InstalledAgent, commitWithinMs: number, signal: AbortSignal): Promise<RunningModel>;
  /** Goes back to what is committed. Where another version runs, ends this agent, and never resolves. */
  giveUp(reason: string): Promise<void>;
  /** From now on it is the one to start. */
  commit(candidate: InstalledAgent): void;
  /** The release that runs; undefined for the version that the installer put there, which may be no release. */
  running(): RunningModel | undefined;
  /** False where nothing but the agent itself could start another version. */
  readonly isUpdatable: boolean;
  /** Of the version that the launcher would fall back to. */
  committedVersion(): Version;
  /** Why the version that runs must not be committed yet; undefined when it may. */
  unfit(): string | undefined;
  /** Removes versions that nothing refers to. `kept`: digests of manifests. */
  collect(kept: ReadonlySet<Digest>): void;
}
