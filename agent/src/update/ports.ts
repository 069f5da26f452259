import type { Digest, ModelName, Version } from '@drover/shared/ids';
import type { AgentManifest, AgentVariant, Manifest, ParametersManifest, Variant } from '@drover/shared/manifest';
import type { ProviderReport, RunningModel } from '@drover/shared/protocol';

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

/** What an update can be about. */
export type Installed = InstalledModel | InstalledAgent | InstalledParameters;

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
 * back takes no time.
 */
export type Replaced = 'keep' | 'close';

/** What the updater needs of whoever runs models. */
export interface Serving {
  /**
   * Loads the candidate apart from what serves (a throwaway probe process on a real device), runs every golden vector,
   * checks parity and the contract's latency. Throws a CodedError (SELF_TEST_FAILED, MODEL_UNLOADABLE, …).
   */
  selfTest(
    candidate: InstalledModel,
    signal: AbortSignal,
  ): Promise<{ provider: ProviderReport; worstDifference: number; latencyUs: number }>;
  /**
   * Loads it, proves the provider by a run, switches new requests to it and drains the old; replaces any model of the same name.
   * Resolves with what is really loaded. What was kept is switched to at once when it is activated again, and dropped when another one is.
   */
  activate(candidate: InstalledModel, signal: AbortSignal, replaced?: Replaced): Promise<RunningModel>;
  /** What an activation kept is not needed any more: the candidate has proven itself. */
  dropKept(model: ModelName): Promise<void>;
  /** Stops serving a model. */
  deactivate(model: ModelName): Promise<void>;
  running(model: ModelName): RunningModel | undefined;
  health(model: ModelName): ServingHealth;
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
